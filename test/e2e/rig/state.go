package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Keys returns the keys of the cluster in etcd, over etcd's own HTTP gateway.
func (r *Rig) Keys(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, restMax)
	defer cancel()
	first := haPrefix + r.prefix + "/"
	end := []byte(first)
	end[len(end)-1]++
	body, err := json.Marshal(map[string]any{"key": []byte(first), "range_end": end, "keys_only": true})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.etcdURL+"/v3/kv/range", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var got struct {
		Kvs []struct {
			Key []byte `json:"key"`
		} `json:"kvs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return nil, fmt.Errorf("keys of etcd, %s: %w", resp.Status, err)
	}
	var out []string
	for _, kv := range got.Kvs {
		out = append(out, strings.TrimPrefix(string(kv.Key), first))
	}
	return out, nil
}

// ObjectFolder returns the folder in which the S3 server keeps the cluster's
// objects, each as a file of its name.
func (r *Rig) ObjectFolder() string { return filepath.Join(r.dir, "s3", r.bucket, "cluster") }

// dumpTime is how long processes may take to write what their goroutines do.
const dumpTime = 2 * time.Second

// Dump makes the cluster's own processes write what their goroutines do into
// their logs, with which they end.
func (r *Rig) Dump(ctx context.Context) error {
	for pid, line := range marked(r.dir) {
		if !strings.Contains(line, "java") && !strings.Contains(line, "versitygw") && !strings.Contains(line, "/etcd ") {
			_ = syscall.Kill(pid, syscall.SIGQUIT) // it may just have ended
		}
	}
	return Pause(ctx, dumpTime)
}
