//go:build e2e

package examples_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leatstream/leat/internal/devs3"
)

// message is a record of Kafka. A nil value is a tombstone.
type message struct {
	topic     string
	partition int32
	key       []byte
	value     []byte
}

// program is an example and what it must do.
type program struct {
	// name is the folder under examples/.
	name string
	args []string
	// plain programs give their topics no prefix.
	plain bool
	// topics are what it reads, with their partitions; outputs what it writes.
	topics  map[string]int32
	outputs []string
	// input makes the messages, in the order in which they are sent. The
	// worker is killed after those before half were read and committed.
	input func(rng *rand.Rand) (in []message, half int)
	// before runs before the job, with all of the input; nil: nothing.
	before func(t *testing.T, c *cluster, in []message)
	// early kills the worker as soon as the job runs, too.
	early bool
	// then runs after the drain, before what was committed is read; nil: nothing.
	then func(t *testing.T, c *cluster, bundle, prefix string, in []message)
	// check compares what was committed with what the input asks for.
	check func(t *testing.T, in, out []message)
}

const (
	// waitMax bounds every wait.
	waitMax          = 120 * time.Second
	outputPartitions = 2
	bucketName       = "leat-examples"
	// pollEvery is the time between two looks at something that has no
	// notification.
	pollEvery = 50 * time.Millisecond
)

// cluster is what all programs share: the processes of flinkctl local up.
type cluster struct {
	bin, dir, rest, kafka string
	client                *kgo.Client
	// s3 is a server of S3 whose bucket is a folder; the jobs' environment says
	// how it is reached.
	s3, bucket string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	tmp := t.TempDir()
	c := &cluster{bin: filepath.Join(tmp, "flinkctl"), dir: filepath.Join(tmp, "cluster")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.bin, "../../cmd/flinkctl")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.startS3(t)
	out := c.must(t, "local", "up", "--detach", "--dir", c.dir, "--rest-port", "0", "--kafka", "--kafka-port", "0", "--slots", "16", "--memory-mib", "8192", "-o", "json")
	t.Cleanup(func() {
		// The test's context has ended by now.
		cmd := exec.CommandContext(context.Background(), c.bin, "local", "down", "--dir", c.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("local down: %v\n%s", err, out)
		}
	})
	var s struct{ REST, Kafka string }
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.REST == "" || s.Kafka == "" {
		t.Fatalf("local up printed %q: %v", out, err)
	}
	c.rest, c.kafka = s.REST, s.Kafka
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	c.client = cl
	return c
}

// startS3 starts a server with one bucket, bucketName.
func (c *cluster) startS3(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	server, err := devs3.Start(t.Context(), dir, bucketName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	c.s3, c.bucket = "http://"+server.Address(), filepath.Join(dir, bucketName)
}

// must runs flinkctl and returns what it printed.
func (c *cluster) must(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.bin, args...)
	cmd.Env = append(os.Environ(), "LEAT_JOBMANAGER="+c.rest, "AWS_ENDPOINT_URL="+c.s3, "AWS_REGION="+devs3.Region,
		"AWS_ACCESS_KEY_ID="+devs3.AccessKey, "AWS_SECRET_ACCESS_KEY="+devs3.SecretKey)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("flinkctl %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// await polls until done says yes.
func await(t *testing.T, what string, done func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		ok, err := done(ctx)
		if ok {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s (last error: %v)", what, waitMax, err)
		}
	}
}

// play runs one program: half of the input, SIGKILL, the rest, drain.
func (c *cluster) play(t *testing.T, p program, seed uint64) {
	in, half := p.input(rand.New(rand.NewPCG(seed, 1)))
	if half < 1 || half >= len(in) {
		t.Fatalf("the worker is to be killed after %d of %d messages", half, len(in))
	}
	prefix, group := p.name+"-", p.name+"-job"
	if p.plain {
		prefix = ""
	}
	c.create(t, prefix, p)
	c.produce(t, prefix, in[:half])
	if p.before != nil {
		p.before(t, c, in)
	}
	bundle := filepath.Join(t.TempDir(), p.name+".bundle")
	c.must(t, "bundle", "build", "../../examples/"+p.name, "-o", bundle)
	args := []string{"run", bundle, "--name", p.name, "--parallelism", "2", "--wait", "running", "--", "--brokers", c.kafka}
	if !p.plain {
		args = append(args, "--topics", prefix)
	}
	c.must(t, append(args, p.args...)...)
	kills := 1
	if p.early {
		kills++
		c.kill(t, p.name)
	}
	c.awaitRead(t, group, prefix, in[:half])
	c.kill(t, p.name)
	c.produce(t, prefix, in[half:])
	c.awaitRead(t, group, prefix, in)
	if n := c.restarts(t, p.name); n < kills {
		t.Errorf("job %s has restarted %d times, want %d: a kill hit nothing", p.name, n, kills)
	}
	c.must(t, "job", "stop", p.name, "--drain")
	c.must(t, "job", "wait", p.name, "--for", "finished", "--timeout", waitMax.String())
	if p.then != nil {
		p.then(t, c, bundle, prefix, in)
	}
	p.check(t, in, c.committed(t, prefix, p.outputs))
}

func (c *cluster) create(t *testing.T, prefix string, p program) {
	t.Helper()
	topics := make(map[string]int32)
	for name, partitions := range p.topics {
		topics[prefix+name] = partitions
	}
	for _, name := range p.outputs {
		topics[prefix+name] = outputPartitions
	}
	for name, partitions := range topics {
		c.must(t, "kafka", "create", name, "--partitions", strconv.Itoa(int(partitions)), "--brokers", c.kafka)
	}
}

func (c *cluster) produce(t *testing.T, prefix string, ms []message) {
	t.Helper()
	records := make([]*kgo.Record, len(ms))
	for i, m := range ms {
		records[i] = &kgo.Record{Topic: prefix + m.topic, Partition: m.partition, Key: m.key, Value: m.value}
	}
	if err := c.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// awaitRead waits until the job's committed checkpoints hold all of the
// messages: its group's offsets say so.
func (c *cluster) awaitRead(t *testing.T, group, prefix string, ms []message) {
	t.Helper()
	want := make(map[string]map[int32]int64)
	for _, m := range ms {
		if want[prefix+m.topic] == nil {
			want[prefix+m.topic] = make(map[int32]int64)
		}
		want[prefix+m.topic][m.partition]++
	}
	await(t, "offsets of "+group, func(ctx context.Context) (bool, error) {
		got, err := c.offsets(ctx, group)
		if err != nil {
			return false, err
		}
		for topic, partitions := range want {
			for partition, n := range partitions {
				if at := got[fmt.Sprint(topic, "/", partition)]; at < n {
					return false, fmt.Errorf("%s/%d: offset %d of %d is committed", topic, partition, at, n)
				}
			}
		}
		return true, nil
	})
}

// offsets are those of a group, by "topic/partition".
func (c *cluster) offsets(ctx context.Context, group string) (map[string]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	req.Groups = append(req.Groups, g)
	res, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64)
	for _, g := range res.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				out[fmt.Sprint(t.Topic, "/", p.Partition)] = p.Offset
			}
		}
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			out[fmt.Sprint(t.Topic, "/", p.Partition)] = p.Offset
		}
	}
	return out, nil
}

// kill ends the job's worker process with SIGKILL.
func (c *cluster) kill(t *testing.T, job string) {
	t.Helper()
	var j struct{ Jid string }
	if err := json.Unmarshal([]byte(c.must(t, "job", "get", job, "-o", "json")), &j); err != nil {
		t.Fatal(err)
	}
	before := 0
	// A job that runs may be between two attempts: then it has no worker yet.
	await(t, "worker of "+job, func(context.Context) (bool, error) {
		before = c.restarts(t, job)
		return c.killWorkers(t, j.Jid) > 0, nil
	})
	await(t, "restart of "+job, func(context.Context) (bool, error) { return c.restarts(t, job) > before, nil })
}

// killWorkers kills the workers of a job and returns how many there were.
func (c *cluster) killWorkers(t *testing.T, id string) (killed int) {
	t.Helper()
	var tms struct {
		TaskManagers []struct {
			Workers []struct {
				Job string `json:"job-id"`
				PID int    `json:"pid"`
			}
		}
	}
	c.get(t, "/v1/taskmanagers", &tms)
	for _, tm := range tms.TaskManagers {
		for _, w := range tm.Workers {
			if w.Job != id {
				continue
			}
			if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			killed++
		}
	}
	return killed
}

func (c *cluster) get(t *testing.T, path string, out any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.rest+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) restarts(t *testing.T, job string) int {
	t.Helper()
	var all struct {
		Jobs []struct {
			Name     string
			Restarts int
		}
	}
	c.get(t, "/v1/jobs/overview", &all)
	for _, j := range all.Jobs {
		if j.Name == job {
			return j.Restarts
		}
	}
	return -1
}

// committed reads topics with read_committed to their ends, in order of topic
// and partition.
func (c *cluster) committed(t *testing.T, prefix string, topics []string) []message {
	t.Helper()
	names := make([]string, len(topics))
	for i, name := range topics {
		names[i] = prefix + name
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = 1
	for _, name := range names {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for p := range int32(outputPartitions) {
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Partition, one.Timestamp = p, -1
			topic.Partitions = append(topic.Partitions, one)
		}
		req.Topics = append(req.Topics, topic)
	}
	res, err := req.RequestWith(t.Context(), c.client)
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[string]map[int32]int64)
	for _, topic := range res.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 {
				t.Fatalf("end of %s/%d: error %d", topic.Topic, p.Partition, p.ErrorCode)
			}
			if p.Offset > 0 {
				if left[topic.Topic] == nil {
					left[topic.Topic] = make(map[int32]int64)
				}
				left[topic.Topic][p.Partition] = p.Offset
			}
		}
	}
	return c.readTo(t, prefix, left)
}

func (c *cluster) readTo(t *testing.T, prefix string, left map[string]map[int32]int64) []message {
	t.Helper()
	if len(left) == 0 {
		return nil
	}
	from := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range left {
		from[topic] = make(map[int32]kgo.Offset)
		for p := range partitions {
			from[topic][p] = kgo.NewOffset().At(0)
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(from), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	var out []message
	for len(left) > 0 {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("reading what was committed: %v; left: %v", err, left)
		}
		f.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Topic][r.Partition] {
				delete(left[r.Topic], r.Partition)
				if len(left[r.Topic]) == 0 {
					delete(left, r.Topic)
				}
			}
			if !r.Attrs.IsControl() {
				out = append(out, message{topic: strings.TrimPrefix(r.Topic, prefix), partition: r.Partition, key: r.Key, value: r.Value})
			}
		})
	}
	slices.SortStableFunc(out, func(a, b message) int {
		if n := strings.Compare(a.topic, b.topic); n != 0 {
			return n
		}
		return int(a.partition - b.partition)
	})
	return out
}
