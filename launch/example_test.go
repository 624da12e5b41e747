package launch_test

import (
	"fmt"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func build(env *stream.Env) error {
	env.Set(stream.JobName("greetings"))
	greetings := stream.From(env, collection.Slice("hello", "salut"), stream.UID("greetings"))
	greetings.To(console.Of(""))
	return nil
}

// A job's main function.
func ExampleMain() {
	launch.Main(build)
}

// The graph of a program, as a cluster would see it.
func ExampleGraph() {
	g, err := launch.Graph(build, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Name, len(g.Nodes))
	// Output: greetings 2
}
