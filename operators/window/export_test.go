package window

import (
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// TablesOf describes all tables that operators over accumulators A and rows T
// may have.
func TablesOf[A, T any]() []state.Descriptor {
	fixed := func(name string, c interface {
		Schema() string
		Fixed() int
	}) state.Descriptor {
		return state.Descriptor{Name: name, Schema: c.Schema(), Fixed: c.Fixed()}
	}
	return []state.Descriptor{
		fixed(tableAggregates, must(codec.Of[A]())),
		fixed(tableLive, must(codec.Of[live[A]]())),
		fixed(tableSuffixes, must(codec.Of[suffix[A]]())),
		{Name: tableWindows, Schema: must(codec.Of[record]()).Schema(), Sub: true},
		{Name: tableAccs, Schema: must(codec.Of[A]()).Schema(), Sub: true},
		{Name: tableElements, Schema: must(codec.Of[T]()).Schema(), Sub: true},
		fixed(tableSessions, must(codec.Of[session[A]]())),
		{Name: tableOthers, Schema: must(codec.Of[session[A]]()).Schema(), Sub: true},
		{Name: tableCounts, Schema: "uint64", Fixed: 8},
		{Name: tableRecords, Schema: must(codec.Of[T]()).Schema(), Sub: true},
	}
}

// RollingTables describes the tables of rolling windows with accumulators A.
func RollingTables[A any]() []state.Descriptor {
	keys := must(codec.Of[rollingKey]())
	return []state.Descriptor{
		{Name: tableRollingKeys, Schema: keys.Schema(), Fixed: keys.Fixed()},
		{Name: tableRolling, Schema: must(codec.Of[A]()).Schema(), Sub: true},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
