// Package cluster asks the members of a running cluster what they run and what
// they have agreed on, and tells a running cluster to go down a version. It
// asks /version, on peer or client URLs, which writes nothing on any line;
// never /health, which up to 3.4 writes a v2 entry that 3.6 dies of.
//
// It must not know directories, or what follows from the answers.
package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Files are what a TLS connection is made with; empty names are left out.
type Files struct {
	CA   string // who may have signed the server's certificate; "" for the system's
	Cert string // our own, where clients are asked for one
	Key  string
	Auto bool // the server made its certificate itself, so nobody has signed it
}

// config is nil-safe to use for plain HTTP too.
func (f Files) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.Auto}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("the certificate %s with the key %s: %w", f.Cert, f.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// client is an HTTP client that goes straight to a member.
func (f Files) client(timeout time.Duration) (*http.Client, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{Proxy: nil, TLSClientConfig: c, DisableKeepAlives: true}}, nil
}

// Member is where a member can be asked.
type Member struct {
	Name       string
	PeerURLs   []string
	ClientURLs []string
}

// Answer is what a member says of itself.
type Answer struct {
	Name   string
	URL    string          // where it answered
	Server version.Version // what it runs
	// Agreed is the line of the cluster's version, and Storage that of what it
	// stores: the latter is told from 3.6 on.
	Agreed, Storage           version.Line
	AgreedKnown, StorageKnown bool
	Err                       error // it did not answer, on any URL
}

// askIn bounds the waiting for one member: who is there answers at once.
const askIn = 5 * time.Second

// Ask asks all members at the same time. Answers come in the members' order.
func Ask(ctx context.Context, members []Member, peer, client Files) ([]Answer, error) {
	p, err := peer.client(askIn)
	if err != nil {
		return nil, err
	}
	c, err := client.client(askIn)
	if err != nil {
		return nil, err
	}
	all := make([]Answer, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { all[i] = ask(ctx, m, p, c) })
	}
	wg.Wait()
	return all, nil
}

// ask tries a member's URLs in turn, within the time for one.
func ask(ctx context.Context, m Member, peer, client *http.Client) Answer {
	ctx, cancel := context.WithTimeout(ctx, askIn)
	defer cancel()
	a := Answer{Name: m.Name}
	var failed []error
	for _, x := range []struct {
		urls []string
		http *http.Client
	}{{m.PeerURLs, peer}, {m.ClientURLs, client}} {
		for _, u := range x.urls {
			got, err := Version(ctx, x.http, u)
			if err == nil {
				got.Name = m.Name
				return got
			}
			failed = append(failed, err)
		}
	}
	a.Err = errors.Join(failed...)
	if a.Err == nil {
		a.Err = errors.New("none of its URLs is known")
	}
	return a
}

// Version asks one URL of a member.
func Version(ctx context.Context, c *http.Client, base string) (a Answer, err error) {
	a.URL = base
	var v struct {
		Server  string `json:"etcdserver"`
		Cluster string `json:"etcdcluster"`
		Storage string `json:"storage"`
	}
	if err := get(ctx, c, strings.TrimSuffix(base, "/")+"/version", &v); err != nil {
		return a, err
	}
	if a.Server, err = version.Parse(v.Server); err != nil {
		return a, fmt.Errorf("%s/version: %w", base, err)
	}
	a.Agreed, a.AgreedKnown = line(v.Cluster)
	a.Storage, a.StorageKnown = line(v.Storage)
	return a, nil
}

// line reads a version that members show; they say "not_decided" before they
// agree, and "unknown".
func line(s string) (version.Line, bool) {
	l, err := version.ParseLine(s)
	return l, err == nil && s != ""
}

// maxAnswer bounds what a member may answer.
const maxAnswer = 1 << 20

func get(ctx context.Context, c *http.Client, u string, into any) error {
	if p, err := url.Parse(u); err != nil {
		return err
	} else if p.Scheme != "http" && p.Scheme != "https" {
		return fmt.Errorf("%s: %s is not asked", u, p.Scheme)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	return do(c, req, into)
}

func do(c *http.Client, req *http.Request, into any) error {
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &StatusError{req.URL.Path, resp.StatusCode, message(b)}
	}
	return json.Unmarshal(b, into)
}

// StatusError is an answer that is not 200.
type StatusError struct {
	Path    string
	Code    int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s: %d: %s", e.Path, e.Code, e.Message) }

// message is the gateway's own word for what is wrong, or the answer's start.
func message(b []byte) string {
	var m struct{ Message, Error string }
	if json.Unmarshal(b, &m) == nil && (m.Message != "" || m.Error != "") {
		return max(m.Message, m.Error)
	}
	return strings.TrimSpace(string(b[:min(len(b), 300)]))
}

// ServerFiles takes the files for talking to members out of the flags that a
// member itself is started with: what it shows to its peers we show too.
func ServerFiles(args []string) (peer, client Files) {
	names := map[string]*string{
		"peer-cert-file": &peer.Cert, "peer-key-file": &peer.Key, "peer-trusted-ca-file": &peer.CA,
		"peer-client-cert-file": &peer.Cert, "peer-client-key-file": &peer.Key,
		"cert-file": &client.Cert, "key-file": &client.Key, "trusted-ca-file": &client.CA,
	}
	for i, a := range args {
		name, value, ok := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if !strings.HasPrefix(a, "-") {
			continue
		}
		switch into := names[name]; {
		case into != nil && ok:
			*into = value
		case into != nil && i+1 < len(args):
			*into = args[i+1]
		}
		on := !ok || value == "true"
		peer.Auto = peer.Auto || name == "peer-auto-tls" && on
		client.Auto = client.Auto || name == "auto-tls" && on
	}
	// A certificate without its key can not be shown.
	for _, f := range []*Files{&peer, &client} {
		if f.Cert == "" || f.Key == "" {
			f.Cert, f.Key = "", ""
		}
	}
	return peer, client
}

// Or takes what f lacks from g.
func (f Files) Or(g Files) Files {
	if f.CA == "" {
		f.CA = g.CA
	}
	if f.Cert == "" {
		f.Cert, f.Key = g.Cert, g.Key
	}
	f.Auto = f.Auto || g.Auto
	return f
}

// Without leaves a member out, by its peer URLs or its name.
func Without(members []Member, name string, peers []string) []Member {
	return slices.DeleteFunc(slices.Clone(members), func(m Member) bool {
		if len(peers) > 0 && len(m.PeerURLs) > 0 {
			return slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(peers, u) })
		}
		return m.Name == name
	})
}
