package state

import "fmt"

// Option sets an option of a handle.
type Option func(*options)

type options struct {
	ttl   *TTL
	value any // of Default, nil: none

	noDefault bool
}

// WithTTL makes state expire. It may be added to state that was written
// without, changed, and taken away again; what that means for entries in a
// snapshot is said at TTL.
func WithTTL(ttl TTL) Option { return func(o *options) { o.ttl = &ttl } }

// Default makes Get return v where there is no value; ok is false all the
// same. It is for values, reducing and map states of that type. Each Get
// returns a copy of its own.
func Default[T any](v T) Option { return func(o *options) { o.value = v } }

func optionsOf(opts []Option) (o options, err error) {
	for i, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("option %d is nil", i)
		}
		opt(&o)
	}
	if o.noDefault && o.value != nil {
		return o, fmt.Errorf("a default is for values, reducing and map states: nothing here could return it")
	}
	if o.ttl != nil {
		err = o.ttl.validate()
	}
	return o, err
}

// defaultOf returns the value of Default in the form that decode reads.
func defaultOf[T any](o options, encode func([]byte, *T) []byte) ([]byte, error) {
	if o.value == nil {
		return nil, nil
	}
	v, ok := o.value.(T)
	if !ok {
		return nil, fmt.Errorf("default of type %T, but the state holds %T: write state.Default[%T](…)", o.value, v, v)
	}
	return encode([]byte{}, &v), nil
}

// withoutDefault is the last option of handles that have no use for a default.
func withoutDefault(o *options) { o.noDefault = true }
