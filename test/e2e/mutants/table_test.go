// Package mutants breaks the engine on purpose, one rule of exactly-once at a
// time, and wants a named test to notice. The broken code exists only in an
// overlay of the build, never in the tree. It runs by make e2e-mutants.
package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is one broken rule.
type mutant struct {
	name string
	file string
	// old is the one place in file that becomes new.
	old, new string
	// finder is the package and test that must fail.
	pkg, test string
	// cluster: the proof on real servers must fail, too.
	cluster bool
}

var mutants = []mutant{
	{
		name: "a sink commits before the pointer has moved",
		file: "connectors/kafka/writer.go",
		old:  "\treturn []connectors.Committable{{Owner: sl.number, Data: t.encode()}}, nil\n",
		new: "\tif err := t.commit(ctx, w.client, w.clk); err != nil {\n\t\treturn nil, err\n\t}\n" +
			"\treturn []connectors.Committable{{Owner: sl.number, Data: t.encode()}}, nil\n",
		pkg: "./connectors/kafka", test: "TestCommittedOnlyAfterCommit", cluster: true,
	},
	{
		name: "records of aborted transactions are read",
		file: "connectors/kafka/krecord/iter.go",
		old:  "return it.h.Transactional && slices.Contains(it.dropping, it.h.ProducerID), nil",
		new:  "return false, nil",
		pkg:  "./connectors/kafka/krecord", test: "TestFilterAgainstAModelOfTheLog",
	},
	{
		name: "a channel is read on after its barrier",
		file: "checkpoint/barrier/barrier.go",
		old:  "\t\tch.blocked = true\n\t\ta.act(Action{Kind: ActionBlock, Channel: ev.Channel, ID: ev.ID})\n",
		new:  "",
		pkg:  "./checkpoint/barrier", test: "TestSnapshotHoldsExactlyTheRowsBeforeTheBarriers",
	},
	{
		name: "the attempt before is not fenced",
		file: "connectors/kafka/writer.go",
		old:  "ids[i] = txnIDOf(string(w.ctx.Incarnation), w.ctx.Info.UID, i)",
		new:  "ids[i] = txnIDOf(string(w.ctx.Incarnation)+fmt.Sprint(w.clk.Now().UnixNano()), w.ctx.Info.UID, i)",
		pkg:  "./connectors/kafka", test: "TestZombieIsFenced", cluster: true,
	},
	{
		name: "what has fired is forgotten in a restore",
		file: "operators/bound/bound.go",
		old:  "\treturn int64(binary.LittleEndian.Uint64(v)), nil\n",
		new:  "\treturn dataflow.TimeMin, nil\n",
		pkg:  "./operators/window", test: "TestAgainstReference",
	},
}

// broken returns the file of a mutant, below the repository's root, with the
// rule in it broken.
func (m *mutant) broken(t *testing.T, root string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		t.Fatalf("%s has the code to break %d times, not once: adapt the mutant\n%s", m.file, n, m.old)
	}
	return strings.Replace(string(b), m.old, m.new, 1)
}

// TestMutantsFitTheCode runs with all tests: code that moves takes its mutant
// along. Whether each is found is for make e2e-mutants.
func TestMutantsFitTheCode(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			m.broken(t, "../../..")
			files, err := filepath.Glob(filepath.Join("../../..", m.pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), "func "+m.test+"(") {
					return
				}
			}
			t.Errorf("%s has no %s, which is to find the mutant", m.pkg, m.test)
		})
	}
}
