// Package stream is the typed DataStream API: a program builds a graph of
// sources, functions and sinks with it, which the engine then runs. It is a
// shell over graph.JobGraph: nothing here runs records.
//
// Steps that change the type of a stream are functions (Map, KeyBy,
// Aggregate), stream first, function second, options last; steps that keep it
// are methods (Filter, Union, Rebalance, To). No type argument needs to be
// written:
//
//	orders := stream.From(env, src, stream.UID("orders"),
//		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Second)))
//	byRegion := stream.KeyBy(orders, func(o Order) string { return o.Region })
//	perMinute := byRegion.Window(stream.Tumbling(time.Minute))
//	sums := stream.Aggregate(perMinute, sum{}, stream.UID("sums"))
//	sums.To(sink, stream.UID("out"))
//
// Building is deterministic and free of side effects, because it runs again
// in every worker process. Faults do not stop it: Env.Graph returns all of
// them, each with the place of the user's call.
package stream
