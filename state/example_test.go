package state_test

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// keyed is what an operator gets from its task.
func keyed() *state.Keyed {
	return state.NewKeyed(memstate.New(dataflow.KeyGroupsOf(0, 1024, 1), 1024))
}

func ExampleValue() {
	k := keyed()
	last, err := state.NewValue[float64](k, "last-price")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, trade := range []struct {
		symbol string
		price  float64
	}{{"tin", 3}, {"zinc", 8}, {"tin", 5}} {
		k.SetKey(state.KeyOf([]byte(trade.symbol)))
		before, ok := last.Get()
		fmt.Println(trade.symbol, before, ok)
		last.Set(trade.price)
	}
	// Output:
	// tin 0 false
	// zinc 0 false
	// tin 3 true
}

func ExampleList() {
	k := keyed()
	visits, err := state.NewList[string](k, "visits")
	if err != nil {
		fmt.Println(err)
		return
	}
	k.SetKey(state.KeyOf([]byte("user-1")))
	visits.Add("home", "search")
	visits.Add("cart")
	for page := range visits.All() {
		fmt.Println(page)
	}
	// Output:
	// home
	// search
	// cart
}

func ExampleMap() {
	k := keyed()
	stock, err := state.NewMap[string, int64](k, "stock")
	if err != nil {
		fmt.Println(err)
		return
	}
	k.SetKey(state.KeyOf([]byte("store-1")))
	stock.Put("apples", 3)
	stock.Put("pears", 5)
	stock.Put("apples", 2)
	stock.Delete("pears")
	for name, n := range stock.All() {
		fmt.Println(name, n, stock.Len())
	}
	// Output:
	// apples 2 1
}

func ExampleReducing() {
	k := keyed()
	highest, err := state.NewReducing(k, "highest", func(a, b int64) int64 { return max(a, b) })
	if err != nil {
		fmt.Println(err)
		return
	}
	k.SetKey(state.KeyOf([]byte("sensor-1")))
	highest.Add(4)
	highest.Add(9)
	highest.Add(7)
	fmt.Println(highest.Get())
	// Output:
	// 9 true
}

func ExampleAggregating() {
	type mean struct {
		Sum   float64
		Count int64
	}
	k := keyed()
	avg, err := state.NewAggregating(k, "mean", state.Aggregator[float64, mean, float64]{
		Add:    func(m *mean, v float64) { m.Sum += v; m.Count++ },
		Result: func(m *mean) float64 { return m.Sum / float64(m.Count) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	k.SetKey(state.KeyOf([]byte("sensor-1")))
	avg.Add(1)
	avg.Add(4)
	fmt.Println(avg.Get())
	// Output:
	// 2.5 true
}

func ExampleWithTTL() {
	k := keyed()
	k.Advance(0, dataflow.TimeMin, 0) // what the operator does with each batch
	seen, err := state.NewMap[string, bool](k, "seen",
		state.WithTTL(state.TTL{After: time.Hour}),
		state.Default(false))
	if err != nil {
		fmt.Println(err)
		return
	}
	k.SetKey(state.KeyOf([]byte("user-1")))
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

func ExampleDefault() {
	k := keyed()
	balance, err := state.NewValue[float64](k, "balance", state.Default(100.0))
	if err != nil {
		fmt.Println(err)
		return
	}
	k.SetKey(state.KeyOf([]byte("player-1")))
	fmt.Println(balance.Get())
	// Output:
	// 100 false
}

func ExampleMap_Sorted() {
	k := keyed()
	stock, err := state.NewMap[string, int64](k, "stock")
	if err != nil {
		fmt.Println(err)
		return
	}
	k.SetKey(state.KeyOf([]byte("store-1")))
	stock.Put("pears", 5)
	stock.Put("apples", 3)
	for name, n := range stock.Sorted() {
		fmt.Println(name, n)
	}
	// Output:
	// apples 3
	// pears 5
}
