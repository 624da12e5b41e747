package state_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// keyed is what an operator gets from its task: stream.ProcessContext.State.
func keyed() *state.Keyed {
	k := state.NewKeyed(memstate.New(dataflow.KeyGroupsOf(0, 1024, 1), 1024))
	k.Advance(0, dataflow.TimeMin, 0) // what the operator does with each batch
	return k
}

// of makes a key the current one, as the operator does with each row.
func of(k *state.Keyed, key string) { k.SetKey(state.KeyOf([]byte(key))) }

func ExampleValue() {
	k := keyed()
	var last state.Value[float64]
	if err := last.Open(k, "last-price"); err != nil {
		fmt.Println(err)
		return
	}
	for _, trade := range []struct {
		symbol string
		price  float64
	}{{"tin", 3}, {"zinc", 8}, {"tin", 5}} {
		of(k, trade.symbol)
		before, ok := last.Get()
		fmt.Println(trade.symbol, before, ok)
		last.Set(trade.price)
	}
	last.Clear()
	fmt.Println(last.Get())
	// Output:
	// tin 0 false
	// zinc 0 false
	// tin 3 true
	// 0 false
}

// State is made in the Open of a function, where the names and types are
// compared with those of the state that was restored.
func ExampleValue_Open() {
	k := keyed()
	var first, again state.Value[int64]
	var other state.Value[string]
	fmt.Println(first.Open(k, "count"), again.Open(k, "count"))
	err := other.Open(k, "count")
	var mismatch *state.MismatchError
	fmt.Println(errors.As(err, &mismatch))
	// Output:
	// <nil> <nil>
	// true
}

func ExampleList() {
	k := keyed()
	var visits state.List[string]
	if err := visits.Open(k, "visits"); err != nil {
		fmt.Println(err)
		return
	}
	of(k, "user-1")
	visits.Add("home", "search")
	visits.Add("cart")
	for page := range visits.All() {
		fmt.Println(page)
	}
	visits.Retain(func(page string) bool { return page != "search" })
	fmt.Println(slices.Collect(visits.All()), visits.Len())
	visits.Set([]string{"help"})
	fmt.Println(slices.Collect(visits.All()))
	visits.Clear()
	fmt.Println(visits.Len())
	// Output:
	// home
	// search
	// cart
	// [home cart] 2
	// [help]
	// 0
}

func ExampleMap() {
	k := keyed()
	var stock state.Map[string, int64]
	if err := stock.Open(k, "stock"); err != nil {
		fmt.Println(err)
		return
	}
	of(k, "store-1")
	stock.Put("apples", 3)
	stock.Put("pears", 5)
	stock.Put("apples", 2)
	stock.Delete("pears")
	for name, n := range stock.All() {
		fmt.Println(name, n, stock.Len())
	}
	n, ok := stock.Get("pears")
	fmt.Println(n, ok, stock.Contains("apples"))
	fmt.Println(slices.Collect(stock.Keys()), slices.Collect(stock.Values()))
	of(k, "store-2")
	fmt.Println(stock.Len())
	of(k, "store-1")
	stock.Clear()
	fmt.Println(stock.Len())
	// Output:
	// apples 2 1
	// 0 false true
	// [apples] [2]
	// 0
	// 0
}

func ExampleMap_Sorted() {
	k := keyed()
	var stock state.Map[string, int64]
	if err := stock.Open(k, "stock"); err != nil {
		fmt.Println(err)
		return
	}
	of(k, "store-1")
	stock.Put("pears", 5)
	stock.Put("apples", 3)
	for name, n := range stock.Sorted() {
		fmt.Println(name, n)
	}
	// Output:
	// apples 3
	// pears 5
}

func ExampleReducing() {
	k := keyed()
	var highest state.Reducing[int64]
	if err := highest.Open(k, "highest", func(a, b int64) int64 { return max(a, b) }); err != nil {
		fmt.Println(err)
		return
	}
	of(k, "sensor-1")
	highest.Add(4)
	highest.Add(9)
	highest.Add(7)
	fmt.Println(highest.Get())
	highest.Clear()
	fmt.Println(highest.Get())
	// Output:
	// 9 true
	// 0 false
}

func ExampleAggregating() {
	type mean struct {
		Sum   float64
		Count int64
	}
	k := keyed()
	var avg state.Aggregating[float64, mean, float64]
	err := avg.Open(k, "mean", state.Aggregator[float64, mean, float64]{
		Add:    func(m *mean, v float64) { m.Sum += v; m.Count++ },
		Result: func(m *mean) float64 { return m.Sum / float64(m.Count) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	of(k, "sensor-1")
	avg.Add(1)
	avg.Add(4)
	fmt.Println(avg.Get())
	avg.Clear()
	fmt.Println(avg.Get())
	// Output:
	// 2.5 true
	// 0 false
}

func ExampleWithTTL() {
	k := keyed()
	var seen state.Map[string, bool]
	err := seen.Open(k, "seen",
		state.WithTTL(state.TTL{After: time.Hour}),
		state.Default(false))
	if err != nil {
		fmt.Println(err)
		return
	}
	of(k, "user-1")
	seen.Put("home", true)
	k.Advance(40*60_000, dataflow.TimeMin, 0)
	seen.Put("cart", true)
	fmt.Println(seen.Contains("home"), seen.Contains("cart"))
	k.Advance(60*60_000, dataflow.TimeMin, 0)
	fmt.Println(seen.Contains("home"), seen.Contains("cart"))
	// Output:
	// true true
	// false true
}

// The fields of a TTL: what makes a value young again, whether one that is too
// old is still shown until it is removed, and by which time age is measured.
func ExampleTTL() {
	k := keyed()
	var written, read, shown, event state.Value[string]
	const hour = 60 * 60_000
	err := errors.Join(
		written.Open(k, "written", state.WithTTL(state.TTL{
			After: time.Hour, Update: state.OnCreateAndWrite, Visibility: state.NeverReturnExpired, Time: state.ProcessingTime})),
		read.Open(k, "read", state.WithTTL(state.TTL{After: time.Hour, Update: state.OnReadAndWrite})),
		shown.Open(k, "shown", state.WithTTL(state.TTL{After: time.Hour, Visibility: state.ReturnExpiredIfNotCleanedUp})),
		event.Open(k, "event", state.WithTTL(state.TTL{After: time.Hour, Time: state.EventTime})),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	of(k, "user-1")
	k.SetRowTime(0) // the time of a row that is in work
	for _, v := range []*state.Value[string]{&written, &read, &shown, &event} {
		v.Set("set")
	}
	for _, at := range []int64{hour / 2, hour + 1} {
		k.Advance(at, dataflow.TimeMin, 0) // the clock goes on, the watermark does not
		var there []bool
		for _, v := range []*state.Value[string]{&written, &read, &event} {
			_, ok := v.Get()
			there = append(there, ok)
		}
		fmt.Println(there)
	}
	_, ok := shown.Get()
	fmt.Println(ok) // the clean-up has come by
	// Output:
	// [true true true]
	// [false true true]
	// false
}

func ExampleDefault() {
	k := keyed()
	var balance state.Value[float64]
	if err := balance.Open(k, "balance", state.Default(100.0)); err != nil {
		fmt.Println(err)
		return
	}
	of(k, "player-1")
	fmt.Println(balance.Get())
	// Output:
	// 100 false
}

// An operator of one's own may want a handle as a value: each has a
// constructor that opens it.
func ExampleNewValue() {
	k := keyed()
	of(k, "sensor-1")
	highest, err := state.NewReducing(k, "highest", func(a, b int64) int64 { return max(a, b) })
	if err != nil {
		fmt.Println(err)
		return
	}
	highest.Add(3)
	fmt.Println(highest.Get())
	// Output:
	// 3 true
}
