package statetest

import (
	"bytes"

	"github.com/leatstream/leat/state"
)

// OnSnapshot implements state.Sweeper.
func (t *refTable) OnSnapshot(fn func() state.Trim) { t.onSnapshot = fn }

// Sweep implements state.Sweeper: each call is a whole round.
func (t *refTable) Sweep(_ int, trim state.Trim) (end bool) {
	for k, v := range t.vals {
		if left, keep := trim(v); keep {
			t.vals[k] = bytes.Clone(left)
		} else {
			delete(t.vals, k)
		}
	}
	for k, m := range t.subs {
		for sub, v := range m {
			if left, keep := trim(v); keep {
				m[sub] = bytes.Clone(left)
			} else {
				delete(m, sub)
			}
		}
		if len(m) == 0 {
			delete(t.subs, k)
		}
	}
	return true
}

// Restored implements state.Migrator.
func (b *Reference) Restored(name string) (state.Descriptor, bool) {
	for _, t := range b.tables {
		if t.d.Name == name && !t.opened {
			return t.d, true
		}
	}
	return state.Descriptor{}, false
}

// Migrate implements state.Migrator.
func (b *Reference) Migrate(d state.Descriptor, rewrite state.Rewrite) error {
	for _, t := range b.tables {
		if t.d.Name == d.Name {
			return t.migrate(d, rewrite)
		}
	}
	return nil
}

func (t *refTable) migrate(d state.Descriptor, rewrite state.Rewrite) error {
	if d.Sub {
		d.Fixed = 0
	}
	t.d = d
	for k, v := range t.vals {
		_, val, err := rewrite(nil, v)
		if err != nil {
			return err
		}
		t.vals[k] = bytes.Clone(val)
	}
	for k, m := range t.subs {
		now := map[string][]byte{}
		for sub, v := range m {
			newSub, val, err := rewrite([]byte(sub), v)
			if err != nil {
				return err
			}
			now[string(newSub)] = bytes.Clone(val)
		}
		t.subs[k] = now
	}
	return nil
}
