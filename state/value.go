package state

import "fmt"

// Value is one value for each key and namespace. T of a fixed size is stored
// in place; any other is encoded on Set and decoded on Get. Open is called
// before anything else.
type Value[T any] struct{ cell cell[T] }

// NewValue returns a value that is open.
func NewValue[T any](k *Keyed, name string, opts ...Option) (*Value[T], error) {
	s := new(Value[T])
	if err := s.Open(k, name, opts...); err != nil {
		return nil, err
	}
	return s, nil
}

// Open makes s the value state of that name. The error names a field that has
// no codec, or both schemas when restored data is of another type.
func (s *Value[T]) Open(k *Keyed, name string, opts ...Option) (err error) {
	s.cell, err = newCell[T](k, "value", name, opts)
	return err
}

// Get returns the value under the current key, and whether there is one; if
// not, v is the Default, or zero. The value is the caller's.
func (s *Value[T]) Get() (v T, ok bool) {
	s.cell.mustBeOpen("state.Value")
	ok = s.cell.read(&v)
	return v, ok
}

// Set stores v under the current key. What v refers to is copied.
func (s *Value[T]) Set(v T) {
	s.cell.mustBeOpen("state.Value")
	s.cell.set(&v)
}

// Clear removes the value under the current key.
func (s *Value[T]) Clear() {
	s.cell.mustBeOpen("state.Value")
	s.cell.clear()
}

// Reducing is one value for each key and namespace that Add folds elements
// into. Open is called before anything else.
type Reducing[T any] struct {
	cell   cell[T]
	reduce func(a, b T) T
}

// NewReducing returns a reducing state that is open.
func NewReducing[T any](k *Keyed, name string, reduce func(a, b T) T, opts ...Option) (*Reducing[T], error) {
	s := new(Reducing[T])
	if err := s.Open(k, name, reduce, opts...); err != nil {
		return nil, err
	}
	return s, nil
}

// Open makes s the reducing state of that name. reduce combines what is
// stored with what is added, in this order; it must not use this state.
func (s *Reducing[T]) Open(k *Keyed, name string, reduce func(a, b T) T, opts ...Option) (err error) {
	if reduce == nil {
		return fmt.Errorf("state %q: the reduce function is nil", name)
	}
	s.reduce = reduce
	s.cell, err = newCell[T](k, "reducing", name, opts)
	return err
}

// Add folds v into the value; the first v is the value.
func (s *Reducing[T]) Add(v T) {
	s.cell.mustBeOpen("state.Reducing")
	var have T
	if s.cell.get(&have) {
		v = s.reduce(have, v)
	}
	s.cell.set(&v)
}

// Get returns the value, and whether anything was added; if not, v is the
// Default, or zero.
func (s *Reducing[T]) Get() (v T, ok bool) {
	s.cell.mustBeOpen("state.Reducing")
	ok = s.cell.read(&v)
	return v, ok
}

// Clear removes the value under the current key.
func (s *Reducing[T]) Clear() {
	s.cell.mustBeOpen("state.Reducing")
	s.cell.clear()
}

// Aggregator says how elements become an accumulator and that a result. Its
// functions must not use the state that they are of.
type Aggregator[In, Acc, Out any] struct {
	// Zero returns an accumulator of nothing; nil means the zero Acc.
	Zero func() Acc
	// Add folds one element in.
	Add func(acc *Acc, in In)
	// Result returns what the accumulator stands for.
	Result func(acc *Acc) Out
}

// Aggregating is one accumulator for each key and namespace. Open is called
// before anything else.
type Aggregating[In, Acc, Out any] struct {
	cell cell[Acc]
	agg  Aggregator[In, Acc, Out]
}

// NewAggregating returns an aggregating state that is open.
func NewAggregating[In, Acc, Out any](k *Keyed, name string, agg Aggregator[In, Acc, Out], opts ...Option) (*Aggregating[In, Acc, Out], error) {
	s := new(Aggregating[In, Acc, Out])
	if err := s.Open(k, name, agg, opts...); err != nil {
		return nil, err
	}
	return s, nil
}

// Open makes s the aggregating state of that name. It has no Default: what is
// there without an element is what agg.Zero returns.
func (s *Aggregating[In, Acc, Out]) Open(k *Keyed, name string, agg Aggregator[In, Acc, Out], opts ...Option) (err error) {
	if agg.Add == nil || agg.Result == nil {
		return fmt.Errorf("state %q: an aggregator needs the functions Add and Result", name)
	}
	s.agg = agg
	s.cell, err = newCell[Acc](k, "aggregating", name, append(opts[:len(opts):len(opts)], withoutDefault))
	return err
}

// Add folds in into the accumulator under the current key.
func (s *Aggregating[In, Acc, Out]) Add(in In) {
	s.cell.mustBeOpen("state.Aggregating")
	var acc Acc
	if !s.cell.get(&acc) && s.agg.Zero != nil {
		acc = s.agg.Zero()
	}
	s.agg.Add(&acc, in)
	s.cell.set(&acc)
}

// Get returns the result, and whether anything was added.
func (s *Aggregating[In, Acc, Out]) Get() (out Out, ok bool) {
	s.cell.mustBeOpen("state.Aggregating")
	var acc Acc
	if !s.cell.get(&acc) {
		return out, false
	}
	return s.agg.Result(&acc), true
}

// Clear removes the accumulator under the current key.
func (s *Aggregating[In, Acc, Out]) Clear() {
	s.cell.mustBeOpen("state.Aggregating")
	s.cell.clear()
}
