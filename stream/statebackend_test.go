package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/stream"
)

func TestFaultsOfTheStateBackend(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	env.Set(stream.StateBackend("rocksdb"))
	env.Set(stream.StateMemory(-1))
	wantFaults(t, "statebackend_test.go", env,
		`state backend "rocksdb" is neither stream.MemoryState nor stream.Pebble`,
		`memory of the state backend is -1 bytes: give a positive number, or leave the option out`,
	)
	for property, c := range map[string]struct{ value, want string }{
		"state.backend":       {"disk", `-D state.backend: state backend "disk" is neither "memory" nor "pebble": give one of them`},
		"state.pebble.memory": {"64MiB", `-D state.pebble.memory: the property is called state.memory, for all backends`},
		"state.memory":        {"much", `-D state.memory: "much" is not a size`},
	} {
		_, err := stream.NewEnv(stream.Properties(map[string]string{property: c.value})).Graph()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %s", property, c.value, err, c.want)
		}
	}
	_, err := stream.NewEnv(stream.Properties(map[string]string{"state.memory": "0"})).Graph()
	if err == nil || !strings.Contains(err.Error(), `"0" is not a positive size`) {
		t.Errorf("a budget of nothing: %v", err)
	}
}

// The backend is in the graph's JSON form and so in its fingerprint; without
// the option neither changes.
func TestStateBackendIsPartOfTheGraph(t *testing.T) {
	t.Parallel()
	build := func(props map[string]string, opts ...stream.EnvOption) (*graph.JobGraph, string) {
		env := stream.NewEnv(append(opts, stream.Properties(props))...)
		stream.From(env, collection.Slice(1), stream.UID("numbers")).To(collection.NewCollector(0), stream.UID("out"))
		g, err := env.Graph()
		if err != nil {
			t.Fatal(err)
		}
		b, err := g.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return g, string(b)
	}
	plain, plainJSON := build(nil)
	disk, diskJSON := build(nil, stream.StateBackend(stream.Pebble), stream.StateMemory(64<<20))
	same, _ := build(map[string]string{"state.backend": "pebble", "state.memory": "64MiB"}, stream.StateBackend(stream.MemoryState))
	if strings.Contains(plainJSON, "stateBackend") || !strings.Contains(diskJSON, `"stateBackend":"pebble"`) {
		t.Errorf("graphs are %s and %s", plainJSON, diskJSON)
	}
	if plain.Fingerprint() == disk.Fingerprint() || disk.Fingerprint() != same.Fingerprint() {
		t.Errorf("fingerprints %s, %s, %s", plain.Fingerprint(), disk.Fingerprint(), same.Fingerprint())
	}
}

// State that may outgrow memory goes to disk; -D state.backend=memory at
// submission brings it back.
func ExampleStateBackend() {
	env := stream.NewEnv(stream.StateBackend(stream.Pebble), stream.StateMemory(512<<20))
	stream.From(env, collection.Slice(1, 2), stream.UID("numbers")).To(collection.NewCollector(0), stream.UID("out"))
	g, err := env.Graph()
	fmt.Println(g.Config.StateBackend, err)
	// Output: pebble <nil>
}

// The budget is for each worker process.
func ExampleStateMemory() {
	env := stream.NewEnv(stream.StateBackend(stream.Pebble))
	env.Set(stream.StateMemory(64 << 20))
	stream.From(env, collection.Slice(1, 2), stream.UID("numbers")).To(collection.NewCollector(0), stream.UID("out"))
	g, err := env.Graph()
	fmt.Println(g.Config.StateMemory>>20, "MiB", err)
	// Output: 64 MiB <nil>
}
