package slots_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/slots"
)

func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var p *slots.Pool
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return run(t, &p, d)
		})
	})
}

func run(t *testing.T, p **slots.Pool, d *datadriven.TestData) string {
	var id, job string
	var n int
	d.MaybeScanArgs(t, "tm", &id)
	d.MaybeScanArgs(t, "job", &job)
	d.MaybeScanArgs(t, "n", &n)
	switch d.Cmd {
	case "new":
		*p = slots.New(slots.Fill)
		if d.HasArg("spread") {
			*p = slots.New(slots.Spread)
		}
	case "add":
		(*p).Add(id, n)
	case "remove":
		return fmt.Sprintf("lost by %v\n", (*p).Remove(id))
	case "acquire":
		got, short := (*p).Acquire(dataflow.JobID(job), n)
		if short != nil {
			return short.String() + "\n"
		}
		return shares(got)
	case "reserve":
		if short := (*p).Reserve(dataflow.JobID(job), n); short != nil {
			return short.String() + "\n" + shares((*p).Held(dataflow.JobID(job)))
		}
		return shares((*p).Held(dataflow.JobID(job)))
	case "keep":
		(*p).Keep(dataflow.JobID(job), []slots.Share{{TaskManager: id, Slots: n}})
		return shares((*p).Held(dataflow.JobID(job)))
	case "hold":
		(*p).Hold(dataflow.JobID(job), id, n)
		return shares((*p).Held(dataflow.JobID(job)))
	case "drain":
		(*p).Drain(id)
	case "room":
		return fmt.Sprintln((*p).Room(dataflow.JobID(job)))
	case "release":
		(*p).Release(dataflow.JobID(job))
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	return fmt.Sprintf("free %d of %d\n", (*p).Free(), (*p).Total())
}

func shares(got []slots.Share) string {
	var b strings.Builder
	for _, s := range got {
		fmt.Fprintf(&b, "%s: %d\n", s.TaskManager, s.Slots)
	}
	return b.String()
}

// Whatever happens, a job holds all that it asked for or nothing, and no
// taskmanager gives more than it has.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := slots.New(slots.Strategy(seed % 2))
		offered := map[string]int{}
		want := map[dataflow.JobID]int{}
		for range 60 {
			tm := fmt.Sprintf("tm-%d", rng.IntN(5))
			job := dataflow.JobID(fmt.Sprintf("job-%d", rng.IntN(4)))
			switch rng.IntN(4) {
			case 0:
				if _, ok := offered[tm]; !ok {
					offered[tm] = rng.IntN(6)
					p.Add(tm, offered[tm])
				}
			case 1:
				for _, j := range p.Remove(tm) {
					p.Release(j)
					delete(want, j)
				}
				delete(offered, tm)
			case 2:
				n := 1 + rng.IntN(8)
				free := p.Free()
				if got, short := p.Acquire(job, n); short == nil {
					want[job] = n
				} else {
					if got != nil || n <= free {
						t.Fatalf("seed %d: refused %d of %d free, gave %v", seed, n, free, got)
					}
					delete(want, job)
				}
			case 3:
				p.Release(job)
				delete(want, job)
			}
			check(t, seed, p, offered, want)
		}
	}
}

func check(t *testing.T, seed uint64, p *slots.Pool, offered map[string]int, want map[dataflow.JobID]int) {
	t.Helper()
	used, sum := map[string]int{}, 0
	for i := range 4 {
		job := dataflow.JobID(fmt.Sprintf("job-%d", i))
		n := 0
		for _, s := range p.Held(job) {
			n += s.Slots
			used[s.TaskManager] += s.Slots
		}
		if n != want[job] {
			t.Fatalf("seed %d: %s holds %d, want %d", seed, job, n, want[job])
		}
		sum += n
	}
	for tm, n := range used {
		if n > offered[tm] {
			t.Fatalf("seed %d: %s gives %d of %d", seed, tm, n, offered[tm])
		}
	}
	if p.Free() != p.Total()-sum {
		t.Fatalf("seed %d: free %d, total %d, held %d", seed, p.Free(), p.Total(), sum)
	}
}
