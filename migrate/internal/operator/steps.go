package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// run lets one server after the other take over a copy of the directory. It
// stops after one that left v2 requests in the log, which the next would die of.
func (o *Operator) run(ctx context.Context, steps []plan.Step, s *datadir.State) (done int, made *result, err error) {
	next := o.journal.Next()
	db := datadir.DBFile(next)
	upTo := backend.All
	var before func() (backend.Summary, error)
	if s.Behind == 0 {
		before = inBackground(datadir.DBFile(o.dir))
	}
	if err := o.copyMember(ctx, s, next); err != nil {
		return 0, nil, err
	}
	if s.Behind > 0 {
		if upTo, err = o.catchUp(ctx, steps[0], next, s); err != nil {
			return 0, nil, err
		}
		sum, err := summarize(db, backend.All)
		if err != nil {
			return 0, nil, err
		}
		before = func() (backend.Summary, error) { return sum, nil }
	}
	for i, step := range steps {
		if err := o.pass(ctx, step.Version, next, s); err != nil {
			return 0, nil, err
		}
		done = i + 1
		if done == len(steps) {
			break
		}
		between, err := datadir.Inspect(next)
		if err != nil {
			return 0, nil, fmt.Errorf("reading what etcd %s left: %w", step.Version, err)
		}
		if !asPlanned(step, between) {
			break
		}
	}
	was, err := before()
	if err != nil {
		return 0, nil, err
	}
	is, err := summarize(db, upTo)
	if err != nil {
		return 0, nil, err
	}
	if upTo != backend.All {
		// Leases and users are not dated: what the log added can not be told apart.
		is.Leases, is.Leased, is.Auth, is.Alarms = was.Leases, was.Leased, was.Auth, was.Alarms
		is.Compacted = max(is.Compacted, was.Compacted)
	}
	if err := o.same(was, is, db); err != nil {
		return 0, nil, err
	}
	return done, resultOf(is), nil
}

// catchUp lets a copy's own version add what its database lacks, before the
// comparison. Where that is not bundled, or is the next to run anyway, only what
// is there up to the revision it gives is compared.
func (o *Operator) catchUp(ctx context.Context, step plan.Step, dir string, s *datadir.State) (upTo int64, err error) {
	v, ok := o.newest(step.From.Version.Line())
	if ok && v.Line() != step.Version.Line() {
		o.Log.Info("the database lacks changes that are in the log: its own version applies them first", "changes", s.Behind, "version", v.String())
		return backend.All, o.pass(ctx, v, dir, s)
	}
	sum, err := summarize(datadir.DBFile(dir), backend.All)
	return sum.Revision, err
}

// same compares, and lets pass what a server does by itself: keys whose lease
// ran out while it was up.
func (o *Operator) same(before, after backend.Summary, db string) error {
	differs := backend.Compare(before, after)
	if differs == nil {
		return nil
	}
	if after.Revision <= before.Revision && after.Leases >= before.Leases {
		return differs
	}
	d, err := backend.Open(db)
	if err != nil {
		return err
	}
	defer d.Close()
	keys, only, err := d.OnlyExpired(before.Revision)
	if err != nil {
		return err
	}
	old, err := d.Summarize(before.Revision)
	if err != nil {
		return err
	}
	old.Leases, old.Leased = before.Leases, before.Leased
	if !only || backend.Compare(before, old) != nil {
		return differs
	}
	o.Log.Warn("leases ran out while the server was up", "leases", before.Leases-after.Leases, "keys", keys)
	return nil
}

// freePagesFound is the first line whose tools find the free pages of a database
// by themselves.
var freePagesFound = version.Line{Major: 3, Minor: 4}

// restore makes a new directory from the database by the version's own tool.
func (o *Operator) restore(ctx context.Context, step plan.Step, s *datadir.State) (*result, error) {
	db, err := o.settled(ctx, s, step.From.Version)
	if err != nil {
		return nil, err
	}
	if err := backend.Strip(db, step.Version.Line().Before(freePagesFound)); err != nil {
		return nil, err
	}
	name, peers := o.identity(s)
	var all []string
	for _, u := range peers {
		all = append(all, name+"="+u)
	}
	out := filepath.Join(o.journal.Work(), "restored")
	token, old := o.oldToken(s)
	if !old {
		token = "migrate-" + o.journal.Record().Move
	}
	if err := o.restoreInto(ctx, out, step.Version, db, name, peers, all, token); err != nil {
		return nil, err
	}
	member := filepath.Join(o.journal.Next(), datadir.MemberDir)
	if err := os.Rename(filepath.Join(out, datadir.MemberDir), member); err != nil {
		return nil, err
	}
	// The database itself, not the copy that was restored, unless that is more.
	source := datadir.DBFile(o.dir)
	if s.Behind > 0 {
		source = db
	}
	n, err := sameRows(source, datadir.DBFile(o.journal.Next()))
	if err != nil {
		return nil, err
	}
	result := &result{what: "rows", count: n.Rows, leases: n.Leases, revision: n.Revision, digest: "row by row"}
	if !old {
		return result, nil
	}
	made, err := raftlog.Read(member)
	if err != nil {
		return nil, err
	}
	if made.NodeID != s.Log.NodeID || made.ClusterID != s.Log.ClusterID {
		return nil, fmt.Errorf("%w: the member and its cluster were %x and %x, the restored ones are %x and %x", backend.ErrDiffers, s.Log.NodeID, s.Log.ClusterID, made.NodeID, made.ClusterID)
	}
	return result, nil
}

// restoreInto makes a data directory from a stripped database by a version's
// own tool.
func (o *Operator) restoreInto(ctx context.Context, out string, v version.Version, db, name string, peers, cluster []string, token string) error {
	args, env := o.Bundle.RestoreCommand(v)
	if args == nil {
		return fmt.Errorf("no tool of etcd %s to restore a database is bundled", v)
	}
	return o.command(ctx, append(args, db, "--skip-hash-check", "--data-dir", out, "--name", name,
		"--initial-cluster", strings.Join(cluster, ","),
		"--initial-advertise-peer-urls", strings.Join(peers, ","),
		"--initial-cluster-token", token), env)
}

// command runs one of etcd's tools; the error has its last words.
func (o *Operator) command(ctx context.Context, args, env []string) error {
	_, err := output(ctx, o.lockFile(), args, env)
	return err
}

// output is command with what the tool printed to its standard output. lock, when
// it is not nil, is handed on: it is held until the tool is gone.
func output(ctx context.Context, lock *os.File, args, env []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = toolEnvironment(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second
	if lock != nil {
		cmd.ExtraFiles = []*os.File{lock}
	}
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &all), &all
	done := make(chan error)
	go onOwnThread(cmd, done)
	err := <-done
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	lines := strings.Split(strings.TrimSpace(all.String()), "\n")
	last := strings.Join(lines[max(0, len(lines)-3):], " | ")
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w; its last words: %s", filepath.Base(args[0]), err, last[:min(len(last), 1000)])
	}
	return nil, err
}

// toolEnvironment is ours without what would change a tool's flags.
func toolEnvironment(env, more []string) []string {
	var kept []string
	for _, e := range env {
		if strings.HasPrefix(e, "ETCD_UNSUPPORTED_ARCH=") || !strings.HasPrefix(e, "ETCD_") && !strings.HasPrefix(e, "ETCDCTL_") {
			kept = append(kept, e)
		}
	}
	return append(kept, more...)
}
