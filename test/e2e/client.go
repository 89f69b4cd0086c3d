//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// client speaks to one etcd through its JSON gateway: the hardened image
// brings no etcdctl. Keys and values are base64 there, as []byte is in Go.
type client struct {
	url   string
	alive func() error // tells whether waiting for an answer still makes sense
}

// call posts one request of the gateway.
func (c *client) call(ctx context.Context, path string, request, response any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(post)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, answer.Status, b)
	}
	return json.Unmarshal(b, response)
}

type pair struct {
	Key   []byte `json:"key,omitempty"`
	Value []byte `json:"value,omitempty"`
}

// put writes a key, waiting for etcd to come up or to find a leader.
func (c *client) put(t testing.TB, key, value string) {
	t.Helper()
	eventually(t, 2*time.Minute, "put at "+c.url, func() error {
		if err := c.alive(); err != nil {
			t.Fatal(err)
		}
		return c.call(t.Context(), "/v3/kv/put", pair{Key: []byte(key), Value: []byte(value)}, &struct{}{})
	})
}

// mustGet checks what a key holds.
func (c *client) mustGet(t testing.TB, key, want string) {
	t.Helper()
	eventually(t, 2*time.Minute, "get at "+c.url, func() error {
		if err := c.alive(); err != nil {
			t.Fatal(err)
		}
		var answer struct {
			KVs []pair `json:"kvs"`
		}
		if err := c.call(t.Context(), "/v3/kv/range", pair{Key: []byte(key)}, &answer); err != nil {
			return err
		}
		if len(answer.KVs) != 1 || string(answer.KVs[0].Value) != want {
			t.Fatalf("get %s: want %q, got %q", key, want, answer.KVs)
		}
		return nil
	})
}

// isLeader tells whether this member leads its cluster.
func (c *client) isLeader(ctx context.Context) (bool, error) {
	var answer struct {
		Header struct {
			Member string `json:"member_id"`
		} `json:"header"`
		Leader string `json:"leader"`
	}
	if err := c.call(ctx, "/v3/maintenance/status", struct{}{}, &answer); err != nil {
		return false, err
	}
	return answer.Leader != "" && answer.Leader == answer.Header.Member, nil
}

// members counts the members of the cluster that have started.
func (c *client) members(ctx context.Context) (int, error) {
	var answer struct {
		Members []struct {
			Name string `json:"name"`
		} `json:"members"`
	}
	if err := c.call(ctx, "/v3/cluster/member/list", struct{}{}, &answer); err != nil {
		return 0, err
	}
	started := 0
	for _, m := range answer.Members {
		if m.Name != "" {
			started++
		}
	}
	return started, nil
}
