// Package server runs one etcd of the operator's own: on loopback, on a
// directory that nobody else sees, for as long as a step needs it. It notices
// at once when the server dies, and takes it along when the operator is killed.
//
// It must not know what the server is run for.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Errors that callers may tell apart.
var (
	ErrDied      = errors.New("etcd ended by itself")
	ErrPortTaken = errors.New("its port is in use") // with ErrDied
)

// Config says which server to run, and on what.
type Config struct {
	Binary  string
	Version version.Version
	DataDir string // holds member/
	Name    string
	// AdvertisedClientURLs are what the member says of itself already: kept,
	// so that a run does not change it. None: where it listens.
	AdvertisedClientURLs []string
	// Port and PeerPort are tried first; a free one is taken where they are
	// in use and Fixed is false.
	Port, PeerPort int
	Fixed          bool
	ExtraArgs      []string
	// ForceNewCluster makes the member the only one of its cluster.
	ForceNewCluster bool
	// Alone is for a cluster of one: it need not wait for others' votes.
	Alone bool
	// Inherit is open in the server, too, under no name that it knows.
	Inherit *os.File
	Log     *slog.Logger
	// ReadyIn and StopIn bound the waiting for the server.
	ReadyIn, StopIn time.Duration
}

// Server is a running etcd.
type Server struct {
	config Config
	url    string
	http   *http.Client
	cmd    *exec.Cmd
	output *tail
	ended  chan struct{} // closed once err is set
	err    error
}

// Start starts a server. It returns before it is ready; ctx bounds the
// starting only, and Stop must be called.
func Start(ctx context.Context, c Config) (*Server, error) {
	host := "127.0.0.1"
	if !c.Fixed {
		host = ownLoopback()
	}
	port, err := choose(host, c.Port, c.Fixed)
	if err != nil {
		return nil, err
	}
	peer, err := choose(host, c.PeerPort, c.Fixed)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Server{
		config: c,
		url:    "http://" + net.JoinHostPort(host, strconv.Itoa(port)),
		http:   &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: nil}},
		output: newTail(),
		ended:  make(chan struct{}),
	}
	s.cmd = exec.Command(c.Binary, arguments(c, s.url, "http://"+net.JoinHostPort(host, strconv.Itoa(peer)))...)
	s.cmd.Env = environment(os.Environ(), runtime.GOARCH)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if c.Inherit != nil {
		s.cmd.ExtraFiles = []*os.File{c.Inherit}
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // an orphan would write on under the next run
		Setpgid:   true,            // a terminal's Ctrl-C is ours to pass on
	}
	started := make(chan error)
	go func() {
		// The kernel ties Pdeathsig to the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
			close(s.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting etcd %s: %w", c.Version, err)
	}
	c.Log.Debug("etcd started", "version", c.Version.String(), "pid", s.cmd.Process.Pid, "url", s.url)
	return s, nil
}

// ownLoopback is one of the 2^24 loopback addresses, so that two operators on one
// machine neither take each other's port between finding and using it nor ask
// each other's server.
func ownLoopback() string {
	n := rand.Uint32N(1<<24-2) + 1 // neither the network's nor the broadcast address
	return net.IPv4(127, byte(n>>16), byte(n>>8), byte(n)).String()
}

// choose is port where it is free, and else a free one, unless it is fixed.
func choose(host string, port int, fixed bool) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		if fixed {
			return 0, fmt.Errorf("port %d for etcd's steps: %w", port, err)
		}
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return 0, err
		}
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// environment is what a server gets of ours. Its own variables would set, or
// from 3.4 on contradict, the flags; but on most architectures an old line does
// not start unless it is told that this is meant, and a step runs old lines.
func environment(env []string, arch string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "ETCD_") {
			kept = append(kept, e)
		}
	}
	if arch != "amd64" {
		kept = append(kept, "ETCD_UNSUPPORTED_ARCH="+arch)
	}
	return kept
}

// owned are the flags that a step sets itself, so that the server is alone with
// its data. ExtraArgs meant for the real server do not change them.
var owned = map[string]bool{
	"name": true, "data-dir": true, "snapshot-count": true, "force-new-cluster": true,
	"heartbeat-interval": true, "election-timeout": true,
	"listen-client-urls": true, "advertise-client-urls": true, "listen-client-http-urls": true,
	"listen-peer-urls": true, "initial-advertise-peer-urls": true, "listen-metrics-urls": true,
	"initial-cluster": true, "initial-cluster-state": true, "initial-cluster-token": true,
	"discovery": true, "discovery-srv": true, "debug": true, "log-level": true, "config-file": true,
	// Client TLS means nothing on a loopback URL without it, and old lines
	// refuse to start over it.
	"cert-file": true, "key-file": true, "trusted-ca-file": true, "ca-file": true, "client-cert-auth": true, "auto-tls": true,
	"peer-cert-file": true, "peer-key-file": true, "peer-trusted-ca-file": true, "peer-ca-file": true, "peer-client-cert-auth": true, "peer-auto-tls": true,
}

// booleans are the owned flags whose value never stands in the next argument.
var booleans = map[string]bool{
	"force-new-cluster": true, "debug": true, "client-cert-auth": true, "auto-tls": true,
	"peer-client-cert-auth": true, "peer-auto-tls": true,
}

func arguments(c Config, clientURL, peerURL string) []string {
	advertised := clientURL
	if len(c.AdvertisedClientURLs) > 0 {
		advertised = strings.Join(c.AdvertisedClientURLs, ",")
	}
	args := []string{
		"--name", c.Name,
		"--data-dir", c.DataDir,
		"--listen-client-urls", clientURL,
		"--advertise-client-urls", advertised,
		"--listen-peer-urls", peerURL,
		"--initial-advertise-peer-urls", peerURL,
		"--initial-cluster", c.Name + "=" + peerURL,
		// A raft snapshot at once: it takes v2 requests out of what a later
		// line has to read of the log.
		"--snapshot-count", "1",
	}
	if c.Alone {
		args = append(args, "--heartbeat-interval", "10", "--election-timeout", "100")
	}
	if c.ForceNewCluster {
		args = append(args, "--force-new-cluster")
	}
	return append(args, foreign(c.ExtraArgs)...)
}

// foreign leaves out the flags that are owned.
func foreign(args []string) []string {
	var kept []string
	skip := false
	for _, a := range args {
		name, isFlag := strings.CutPrefix(a, "-")
		name = strings.TrimPrefix(name, "-")
		if !isFlag {
			if !skip {
				kept = append(kept, a)
			}
			skip = false
			continue
		}
		name, _, hasValue := strings.Cut(name, "=")
		skip = owned[name] && !hasValue && !booleans[name]
		if !owned[name] {
			kept = append(kept, a)
		}
	}
	return kept
}

// Stop ends the server cleanly, so that everything it took is in its files.
func (s *Server) Stop() error {
	defer s.http.CloseIdleConnections()
	select {
	case <-s.ended:
		return s.died()
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(s.config.StopIn)
	defer timer.Stop()
	select {
	case <-s.ended:
		return s.unclean()
	case <-timer.C:
		s.Kill()
		return fmt.Errorf("etcd %s did not stop within %s and was killed", s.config.Version, s.config.StopIn)
	}
}

// unclean is nil when the server ended as asked: old lines exit with 0, others
// by the signal.
func (s *Server) unclean() error {
	var exit *exec.ExitError
	if s.err == nil {
		return nil
	}
	if errors.As(s.err, &exit) {
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && (st.Signaled() && st.Signal() == syscall.SIGTERM || st.ExitStatus() == 143) {
			return nil
		}
	}
	return s.died()
}

// Kill ends the server at once and waits for that.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
	s.http.CloseIdleConnections()
}

func (s *Server) died() error {
	if strings.Contains(s.output.String(), "address already in use") {
		return fmt.Errorf("%w (%w): etcd %s: %v; its last words: %s", ErrDied, ErrPortTaken, s.config.Version, s.err, s.output)
	}
	return fmt.Errorf("%w: etcd %s: %v; its last words: %s", ErrDied, s.config.Version, s.err, s.output)
}
