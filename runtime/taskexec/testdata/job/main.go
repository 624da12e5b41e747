// Command job is a program for the tests of package taskexec: it plays both
// roles as its first argument says, with no engine behind it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ctlrpc"
	"github.com/leatstream/leat/runtime/taskexec"
)

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(3, "lifeline"))
		os.Exit(3)
	}()
	mode := os.Args[1]
	switch {
	case mode == "hang-"+os.Getenv(taskexec.EnvRole):
		fmt.Println("hanging")
		signal.Ignore(syscall.SIGTERM)
		select {}
	case mode == "die":
		fmt.Fprintln(os.Stderr, "goodbye")
		os.Exit(7)
	case mode == "eat":
		eat()
	case os.Getenv(taskexec.EnvRole) == taskexec.RolePlan:
		plan()
	default:
		work(mode)
	}
}

func eat() {
	var held [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(i)
		}
		held = append(held, b)
		if len(held) > 1<<14 {
			return
		}
	}
}

func plan() {
	name, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	entries, err := os.ReadDir(name)
	if err != nil || len(entries) > 0 {
		panic("the working folder is not empty")
	}
	g := &graph.JobGraph{
		Version: graph.FormatVersion, Name: strings.Join(os.Environ(), "\n"), MaxParallelism: 8,
		Nodes: []*graph.Node{{ID: dataflow.OperatorIDOf("a"), UID: "a", Name: "a", Kind: graph.KindSource}},
	}
	b, err := g.Marshal()
	if err != nil {
		panic(err)
	}
	out, err := json.Marshal(taskexec.PlanOutput{Graph: b, Fingerprint: g.Fingerprint()})
	if err != nil {
		panic(err)
	}
	if _, err := os.NewFile(4, "result").Write(out); err != nil {
		panic(err)
	}
}

// work echoes commands as events; "fork" leaves a child of its own running.
func work(mode string) {
	if mode == "fork" {
		if err := exec.Command("/bin/sleep", "1000").Start(); err != nil {
			panic(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if mode == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
		ctx = context.Background()
	}
	c, err := ctlrpc.DialTaskManager(ctx, os.Getenv(taskexec.EnvSocket), os.Getenv(taskexec.EnvWorker), os.Getenv(taskexec.EnvToken))
	if err != nil {
		panic(err)
	}
	fmt.Println("working on", c.Welcome.GetJobName())
	say(c, os.Getenv("GOMEMLIMIT")+" "+os.Getenv("GOMAXPROCS"))
	for {
		cmd, err := c.Recv(ctx)
		if err != nil {
			fmt.Println("stopped:", err)
			return
		}
		reason := cmd.GetCancel().GetReason()
		switch reason {
		case "exit":
			c.Flush(ctx)
			return
		case "panic":
			panic("as asked")
		case "eat":
			eat()
		default:
			say(c, reason)
		}
	}
}

func say(c *ctlrpc.WorkerClient, fingerprint string) {
	err := c.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Ready{Ready: &controlv1.Ready{Fingerprint: fingerprint}}})
	if err != nil {
		panic(err)
	}
}
