package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// ordersPerSecond runs the job and the loop in turns.
func (b *bench) ordersPerSecond(ctx context.Context) error {
	return b.withTopic(ctx, func(brokers string, l loaded) error {
		var job, worker, loopRate, ratio, score, wall []float64
		for i := range b.runs {
			score = append(score, calibrate())
			c, err := b.one(ctx, fmt.Sprintf("orders-%d", i+1), brokers, l, b.interval)
			if err != nil {
				return err
			}
			if i == 0 && b.check {
				out, _, err := self(ctx, "child-check", brokers, strconv.FormatUint(b.seed, 10), strconv.Itoa(b.orders))
				if err != nil {
					return err
				}
				b.rep.printf("result    %s\n", out)
			}
			cpu, err := b.loop(ctx, brokers, l)
			if err != nil {
				return err
			}
			b.rep.printf("run %d     job %.2f s of processor time (jobmanager %.2f, taskmanager %.2f, worker %.2f) in %.1f s; loop %.2f s\n",
				i+1, c.total().Seconds(), c.jobManager.Seconds(), c.taskManager.Seconds(), c.worker.Seconds(), c.wall.Seconds(), cpu.Seconds())
			job = append(job, float64(b.orders)/c.total().Seconds())
			worker = append(worker, float64(b.orders)/c.worker.Seconds())
			loopRate = append(loopRate, float64(b.orders)/cpu.Seconds())
			ratio = append(ratio, c.total().Seconds()/cpu.Seconds())
			wall = append(wall, float64(b.orders)/c.wall.Seconds())
		}
		b.rep.row("job, all engine processes", "orders/CPU-s", job)
		b.rep.row("job, worker alone", "orders/CPU-s", worker)
		b.rep.row("hand-written loop", "orders/CPU-s", loopRate)
		b.rep.row("job's processor time over loop's", "", ratio)
		b.rep.row("job, from submission to end", "orders/s", wall)
		b.rep.row("calibration", "passes/CPU-s", score)
		return b.splitByStage(ctx, brokers, l)
	})
}

// withTopic calls fn with a broker that holds the orders.
func (b *bench) withTopic(ctx context.Context, fn func(brokers string, l loaded) error) error {
	if err := b.buildBundle(ctx); err != nil {
		return err
	}
	brokers, stop, err := b.startBroker(ctx)
	if err != nil {
		return err
	}
	defer stop()
	l, err := b.load(ctx, brokers)
	if err != nil {
		return err
	}
	b.rep.printf("topic     %d orders of %.0f bytes on average, to the offsets %s\n", b.orders, l.PerRecord, l.Ends)
	return fn(brokers, l)
}

// one runs the job once on a cluster of its own.
func (b *bench) one(ctx context.Context, name, brokers string, l loaded, interval time.Duration) (cost, error) {
	if err := emptyOutput(ctx, brokers); err != nil {
		return cost{}, err
	}
	c, err := b.startCluster(ctx, filepath.Join(b.dir, name))
	if err != nil {
		return cost{}, err
	}
	defer c.stop()
	return c.runJob(ctx, name, brokers, l.Ends, interval)
}

// loop runs the hand-written loop once.
func (b *bench) loop(ctx context.Context, brokers string, l loaded) (time.Duration, error) {
	out, cpu, err := self(ctx, "child-loop", brokers, l.Ends)
	if err != nil {
		return 0, err
	}
	var got struct{ Records, Counted, Late, Bad, Results int }
	if err := json.Unmarshal(out, &got); err != nil {
		return 0, err
	}
	if got.Records != b.orders || got.Counted == 0 || got.Results == 0 {
		return 0, fmt.Errorf("the loop read %d of %d orders and counted %d in %d results", got.Records, b.orders, got.Counted, got.Results)
	}
	return cpu, nil
}

// slowInterval is checkpointing next to never.
const slowInterval = time.Minute

// checkpointCost runs the job with frequent and with rare checkpoints in turns.
func (b *bench) checkpointCost(ctx context.Context) error {
	return b.withTopic(ctx, func(brokers string, l loaded) error {
		var often, rarely, more []float64
		for i := range b.runs {
			f, err := b.one(ctx, fmt.Sprintf("often-%d", i+1), brokers, l, b.interval)
			if err != nil {
				return err
			}
			s, err := b.one(ctx, fmt.Sprintf("rarely-%d", i+1), brokers, l, slowInterval)
			if err != nil {
				return err
			}
			often, rarely = append(often, f.total().Seconds()), append(rarely, s.total().Seconds())
			more = append(more, 100*(f.total().Seconds()/s.total().Seconds()-1))
			b.rep.printf("run %d     every %s %.2f s of processor time in %.1f s; every %s %.2f s in %.1f s\n",
				i+1, b.interval, f.total().Seconds(), f.wall.Seconds(), slowInterval, s.total().Seconds(), s.wall.Seconds())
		}
		b.rep.row("checkpoints every "+b.interval.String(), "CPU-s", often)
		b.rep.row("checkpoints every "+slowInterval.String(), "CPU-s", rarely)
		b.rep.row("more processor time", "%", more)
		b.rep.printf("%-36s %8.2f %%\n", "by the medians", 100*(median(often)/median(rarely)-1))
		b.rep.printf("%-36s %8.2f %%\n", "by the sums", 100*(sum(often)/sum(rarely)-1))
		return nil
	})
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}
