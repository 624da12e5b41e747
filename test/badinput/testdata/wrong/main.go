// Command wrong does not compile: each line with a comment "want" is a mistake
// that the compiler finds, and what it says of it.
package main

import (
	"strings"

	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

type order struct {
	ID, Customer string
	Shop         int64
	Cents        int64
}

func main() { launch.Main(build) } // want "func(env *stream.Env) error"

func build(env *stream.Env, orders *stream.DataStream[order]) error {
	byCustomer := stream.ToTable(stream.KeyBy(orders, func(o order) string { return o.Customer }))
	byShop := stream.ToTable(stream.KeyBy(orders, func(o order) int64 { return o.Shop }))
	pair := func(a, b order) string { return a.ID + b.ID }

	stream.JoinTables(byCustomer, byShop, stream.Inner(pair))                            // want "*stream.Table[int64, order]"
	stream.TableJoin(stream.KeyBy(orders, func(o order) string { return o.ID }), byShop, // want "*stream.Table[int64, order]"
		stream.LeftOuter(func(o order, s *order) string { return o.ID }))
	stream.KeyBy(orders, func(o order) []string { return strings.Fields(o.ID) }) // want "[]string does not satisfy comparable"
	stream.Map(orders, func(n int) int { return n })                             // want "func(n int) int"
	stream.TryMap(orders, func(o order) string { return o.ID })                  // want "func(o order) string"
	stream.TableJoin(stream.KeyBy(orders, func(o order) string { return o.ID }), byCustomer,
		stream.RightOuter(func(*order, *order) string { return "" })) // want "stream.LeftJoiner"
	stream.Union(orders) // want "undefined: stream.Union"
	return nil
}
