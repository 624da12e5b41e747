// Package stateplan is what a jobmanager and a program that it has planned tell
// each other about state: what a savepoint holds, and what the program's
// operators would make of it. Who opens the operators is launch/stateprobe.
package stateplan

import (
	"encoding/json"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/state"
)

// Property is that of the program's inputs under which it is told what a
// savepoint holds. The program itself does not see it.
const Property = "leat.plan.state"

// Held is what a savepoint holds, as JSON in Property.
type Held struct {
	Version   int            `json:"version"` // 1
	Operators []HeldOperator `json:"operators"`
}

// HeldOperator is the state of one operator, without its entries.
type HeldOperator struct {
	ID     dataflow.OperatorID `json:"id"`
	Tables []Table             `json:"tables,omitempty"`
	// State is what is not keyed, by old subtask, as long as it is small.
	State [][]byte `json:"state,omitempty"`
	// Large says that State was left out.
	Large bool `json:"large,omitempty"`
}

// Table is state.Descriptor as JSON.
type Table struct {
	Name   string `json:"name"`
	Schema string `json:"schema"`
	Fixed  int    `json:"fixed,omitempty"`
	Sub    bool   `json:"sub,omitempty"`
}

// TablesOf returns descriptors as they are told.
func TablesOf(ds []state.Descriptor) []Table {
	var out []Table
	for _, d := range ds {
		out = append(out, Table{Name: d.Name, Schema: d.Schema, Fixed: d.Fixed, Sub: d.Sub})
	}
	return out
}

// Descriptor is the way back.
func (t Table) Descriptor() state.Descriptor {
	return state.Descriptor{Name: t.Name, Schema: t.Schema, Fixed: t.Fixed, Sub: t.Sub}
}

// Encode is the value of Property.
func (h Held) Encode() (string, error) {
	h.Version = 1
	b, err := json.Marshal(h)
	return string(b), err
}

// Parse reads what Encode wrote.
func Parse(text string) (Held, error) {
	var h Held
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return h, fmt.Errorf("property %s: %w", Property, err)
	}
	if h.Version != 1 {
		return h, fmt.Errorf("property %s has version %d, this program reads version 1", Property, h.Version)
	}
	return h, nil
}

// Fates of an operator's state, and of a table's.
const (
	Restored = "restored" // as it is
	Migrated = "migrated" // rewritten as the new type
	New      = "new"      // begins empty
	Unused   = "unused"   // kept, but nothing opens it
	Refused  = "refused"  // a start fails
	Unknown  = "unknown"
)

// Answer is what the program's operators make of what is held.
type Answer struct {
	Operators []Operator `json:"operators"`
}

// Operator is one of the program's that has state, or may have.
type Operator struct {
	ID     dataflow.OperatorID `json:"id"`
	States []State             `json:"states,omitempty"`
	// Error says why a start would fail (Refused).
	Error *Error `json:"error,omitempty"`
	// Unknown says why it is not known what becomes of the state.
	Unknown string `json:"unknown,omitempty"`
}

// Error is an error with its code, as a start would report it.
type Error struct {
	Code string   `json:"code"`
	What string   `json:"what"`
	Why  string   `json:"why,omitempty"`
	Fix  []string `json:"fix,omitempty"`
}

// State is one table.
type State struct {
	Name string `json:"name"`
	Fate string `json:"fate"`
	// Was and Now are schemas; Was is empty for New ones.
	Was string `json:"was,omitempty"`
	Now string `json:"now,omitempty"`
	// Changes say what differs, for people.
	Changes []string `json:"changes,omitempty"`
}

// Attach returns the JSON form of a graph with an answer beside it, which
// graph.Unmarshal passes over.
func Attach(g *graph.JobGraph, a Answer) ([]byte, error) {
	return json.Marshal(struct {
		*graph.JobGraph
		StatePlan Answer `json:"statePlan"`
	}{g, a})
}

// Detach returns the answer beside a graph; ok is false when there is none, as
// of a program whose engine does not know the question.
func Detach(b []byte) (a Answer, ok bool, err error) {
	var with struct {
		StatePlan *Answer `json:"statePlan"`
	}
	if err := json.Unmarshal(b, &with); err != nil {
		return a, false, fmt.Errorf("what the program says of its state: %w", err)
	}
	if with.StatePlan == nil {
		return a, false, nil
	}
	return *with.StatePlan, true, nil
}
