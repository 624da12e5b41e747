//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/leatstream/leat/test/chaos/netlab"
	"github.com/leatstream/leat/test/chaos/s3front"
	"github.com/leatstream/leat/test/e2e/rig"
)

// fault is one way to break the cluster.
type fault struct {
	name string
	// least and most are how long it lasts.
	least, most time.Duration
	// begin breaks something; it returns what it has hit and what mends it.
	begin beginning
}

// beginning breaks something.
type beginning func(ctx context.Context, b *breaker) (hit string, mend func(context.Context) error, err error)

// breaker is what faults work with.
type breaker struct {
	*cluster
	job string
	rng *rand.Rand
}

// The times of faults. A lease and the silence of a taskmanager last 2 s.
const (
	blinkLeast, blinkMost = 100 * time.Millisecond, 1500 * time.Millisecond
	longLeast, longMost   = 3 * time.Second, 6 * time.Second
)

// faults returns all of them, in a fixed order.
func faults() []fault {
	var out []fault
	for _, t := range rig.Targets() {
		out = append(out,
			fault{"kill-" + string(t), 200 * time.Millisecond, 3 * time.Second, kill(t)},
			fault{"blink-" + string(t), blinkLeast, blinkMost, pause(t)},
			fault{"stop-" + string(t), longLeast, longMost, pause(t)})
	}
	for _, l := range links() {
		out = append(out,
			fault{"cut-" + l.name, longLeast, longMost, rule(l, true, true, netlab.Rule{Drop: true})},
			fault{"cut-" + l.name + "-out", longLeast, longMost, rule(l, true, false, netlab.Rule{Drop: true})},
			fault{"cut-" + l.name + "-in", longLeast, longMost, rule(l, false, true, netlab.Rule{Drop: true})},
			fault{"slow-" + l.name, longLeast, longMost, rule(l, true, true, netlab.Rule{Delay: 40 * time.Millisecond, Jitter: 120 * time.Millisecond})},
			fault{"bad-" + l.name, longLeast, longMost, rule(l, true, true, netlab.Rule{Jitter: 20 * time.Millisecond, Lose: 0.03, Double: 0.03})},
			fault{"halfopen-" + l.name, 0, time.Second, halfOpen(l)})
	}
	return append(out,
		fault{"disk-full", longLeast, longMost, diskFull},
		fault{"s3-errors", longLeast, longMost, mood(s3front.Mood{Fail: 0.3})},
		fault{"s3-down", longLeast, longMost, mood(s3front.Mood{Fail: 1})},
		fault{"s3-slow", longLeast, longMost, mood(s3front.Mood{Delay: 300 * time.Millisecond, Jitter: 700 * time.Millisecond})},
		fault{"clock-jobmanager", blinkLeast, longLeast, step(rig.JobManager)},
		fault{"clock-taskmanager", blinkLeast, longLeast, step(rig.TaskManager)})
}

func kill(what rig.Target) beginning {
	return func(ctx context.Context, b *breaker) (string, func(context.Context) error, error) {
		v, err := b.Find(ctx, what, b.job, b.rng)
		if err != nil {
			return "", nil, err
		}
		return v.Name, v.Restart, v.Kill(ctx)
	}
}

// pause stops a process for a while. One that its parent has killed meanwhile,
// as a taskmanager may do with a worker, need not go on.
func pause(what rig.Target) beginning {
	return func(ctx context.Context, b *breaker) (string, func(context.Context) error, error) {
		v, err := b.Find(ctx, what, b.job, b.rng)
		if err != nil {
			return "", nil, err
		}
		return v.Name, func(context.Context) error {
			if err := v.Signal(syscall.SIGCONT); err != nil && what != rig.Worker {
				return err
			}
			return nil
		}, v.Signal(syscall.SIGSTOP)
	}
}

// link is a kind of connection; ends are its two sides, the lesser first.
type link struct {
	name string
	ends func(ctx context.Context, b *breaker) (one, other end, err error)
}

// end is one or more hosts.
type end struct {
	name  string
	hosts []string
}

// links returns the kinds of connections that are broken.
func links() []link {
	return []link{
		{"taskmanager-jobmanagers", func(ctx context.Context, b *breaker) (end, end, error) {
			tm, err := b.end(ctx, rig.TaskManager)
			return tm, b.jobManagers(), err
		}},
		{"workers", func(ctx context.Context, b *breaker) (one, other end, err error) {
			hosts := b.workerHosts(ctx)
			if len(hosts) < 2 {
				return one, other, fmt.Errorf("the job's workers are on %d taskmanagers", len(hosts))
			}
			return hosts[0], hosts[1], nil
		}},
		{"leader-etcd", between(rig.JobManager, rig.Etcd)},
		{"leader-s3", func(ctx context.Context, b *breaker) (end, end, error) {
			jm, err := b.end(ctx, rig.JobManager)
			return jm, b.storage(), err
		}},
		{"taskmanager-s3", func(ctx context.Context, b *breaker) (end, end, error) {
			tm, err := b.end(ctx, rig.TaskManager)
			return tm, b.storage(), err
		}},
		{"worker-kafka", between(rig.TaskManager, rig.Kafka)},
	}
}

func between(one, other rig.Target) func(context.Context, *breaker) (end, end, error) {
	return func(ctx context.Context, b *breaker) (x, y end, err error) {
		if x, err = b.end(ctx, one); err != nil {
			return x, y, err
		}
		y, err = b.end(ctx, other)
		return x, y, err
	}
}

func (b *breaker) end(ctx context.Context, what rig.Target) (end, error) {
	v, err := b.Find(ctx, what, b.job, b.rng)
	if err != nil {
		return end{}, err
	}
	return b.host(v.Group)
}

func (b *breaker) host(group string) (end, error) {
	h, err := b.lab.Host(group)
	return end{group, []string{h}}, err
}

func (b *breaker) jobManagers() end {
	out := end{name: "jobmanagers"}
	for _, id := range []string{"jm-1", "jm-2"} {
		if h, err := b.lab.Host(id); err == nil { // they exist
			out.hosts = append(out.hosts, h)
		}
	}
	return out
}

func (b *breaker) storage() end { return end{"s3", []string{b.store}} }

// workerHosts returns the taskmanagers of the job's workers, in an order of
// chance.
func (b *breaker) workerHosts(ctx context.Context) []end {
	var out []end
	for _, id := range b.WorkerGroups(ctx, b.job) {
		if e, err := b.host(id); err == nil { // they exist
			out = append(out, e)
		}
	}
	b.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// rule gives a link a rule: out is from its first end to the second, in the
// way back.
func rule(l link, out, in bool, r netlab.Rule) beginning {
	return func(ctx context.Context, b *breaker) (string, func(context.Context) error, error) {
		one, other, err := l.ends(ctx, b)
		if err != nil {
			return "", nil, err
		}
		set := func(r netlab.Rule) {
			for _, x := range one.hosts {
				for _, y := range other.hosts {
					if out {
						b.lab.Set(x, y, r)
					}
					if in {
						b.lab.Set(y, x, r)
					}
				}
			}
		}
		set(r)
		return one.name + " and " + other.name, func(context.Context) error { set(netlab.Rule{}); return nil }, nil
	}
}

// halfOpen makes connections half-open for ever.
func halfOpen(l link) beginning {
	return func(ctx context.Context, b *breaker) (string, func(context.Context) error, error) {
		one, other, err := l.ends(ctx, b)
		if err != nil {
			return "", nil, err
		}
		n := 0
		for _, x := range one.hosts {
			for _, y := range other.hosts {
				n += b.lab.KillFlows(x, y)
			}
		}
		return fmt.Sprintf("%s and %s, %d connections", one.name, other.name, n), func(context.Context) error { return nil }, nil
	}
}

func diskFull(ctx context.Context, b *breaker) (string, func(context.Context) error, error) {
	v, err := b.Find(ctx, rig.TaskManager, b.job, b.rng)
	if err != nil {
		return "", nil, err
	}
	return v.Group, func(context.Context) error { return freeDisk(v.Group) }, fillDisk(v.Group)
}

func mood(m s3front.Mood) beginning {
	return func(_ context.Context, b *breaker) (string, func(context.Context) error, error) {
		b.front.Set(m)
		return "all", func(context.Context) error { b.front.Set(s3front.Mood{}); return nil }, nil
	}
}

// steps are the seconds by which clocks are set.
func steps() []int64 { return []int64{-3600, -10, 10, 3600, 86_400} }

// step sets a clock, and later sets it right.
func step(what rig.Target) beginning {
	return func(ctx context.Context, b *breaker) (string, func(context.Context) error, error) {
		v, err := b.Find(ctx, what, b.job, b.rng)
		if err != nil {
			return "", nil, err
		}
		by := steps()[b.rng.IntN(len(steps()))]
		return fmt.Sprintf("%s by %d s", v.Group, by), func(context.Context) error { return setClock(v.Group, 0) }, setClock(v.Group, by)
	}
}

// chosen returns the faults that the flags ask for.
func chosen() []fault {
	var out []fault
	for _, f := range faults() {
		for _, name := range strings.Split(*only, ",") {
			if *only == "" || strings.HasPrefix(f.name, name) {
				out = append(out, f)
				break
			}
		}
	}
	return out
}
