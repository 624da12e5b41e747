// Command serve runs the service that the example reads from and writes to. It
// prints its address and keeps all in memory.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/leatstream/leat/examples/connector/points"
	"github.com/leatstream/leat/examples/connector/service"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "host:port to listen on")
	games := flag.Int("games", 0, "made-up games in each of the two shards")
	flag.Parse()
	if err := serve(*listen, *games); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(listen string, games int) error {
	s := service.New("east", "west")
	for _, shard := range []string{"east", "west"} {
		if err := add(s, shard, games); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	server := http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

func add(s *service.Service, shard string, games int) error {
	all := make([]points.Game, games)
	for i := range all {
		all[i] = points.Game{Player: fmt.Sprintf("%s-%d", shard, i%10), Points: int64(i % 100), At: 1_767_225_600_000 + 1000*int64(i)}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	r := httptest.NewRequest(http.MethodPost, "/shards/"+shard, bytes.NewReader(b))
	s.ServeHTTP(httptest.NewRecorder(), r)
	return nil
}
