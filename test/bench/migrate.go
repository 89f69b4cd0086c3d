package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	migrateSize  = 256 << 20 // bytes of values in the database
	migrateValue = 16 << 10
	migrateTimes = 2         // a move is to take this many times a bare restore's time at most
	migratePeak  = 100 << 20 // bytes of the operator itself, above those of etcd
)

// migrateMoves are the moves that are measured, between lines.
var migrateMoves = [][2]string{{"3.0", "3.7"}, {"3.7", "3.5"}}

// migrate measures moves of a data directory against what the target's own tool
// takes to restore the database of the same directory, in turns.
func (b *workbench) migrate(ctx context.Context, runs int) ([]row, error) {
	bin := filepath.Join(b.repo, ".cache", "etcd")
	if dir := os.Getenv("ETCDIMG_TEST_BINARIES"); dir != "" {
		bin = dir
	}
	program := filepath.Join(b.root, "migrate")
	if _, err := output(ctx, b.repo, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./migrate"); err != nil {
		return nil, err
	}
	var rows []row
	for _, m := range migrateMoves {
		fmt.Fprintf(os.Stderr, "measuring a move from %s to %s\n", m[0], m[1])
		r, err := b.move(ctx, program, bin, m[0], m[1], runs)
		if err != nil {
			return nil, fmt.Errorf("from %s to %s: %w", m[0], m[1], err)
		}
		rows = append(rows, r...)
	}
	return rows, nil
}

func (b *workbench) move(ctx context.Context, program, bin, fromLine, toLine string, runs int) ([]row, error) {
	from, err := versionOf(bin, fromLine)
	if err != nil {
		return nil, err
	}
	to, err := versionOf(bin, toLine)
	if err != nil {
		return nil, err
	}
	source := filepath.Join(b.root, "data-"+from)
	if _, err := os.Stat(source); errors.Is(err, os.ErrNotExist) {
		if err := fill(ctx, filepath.Join(bin, "etcd-"+from), source, from); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(source, "version.txt"), []byte(from+"/etcd3"), 0o644); err != nil {
		return nil, err
	}
	var ours, bare []cost
	for range runs {
		restored, data := filepath.Join(b.root, "restored"), filepath.Join(b.root, "moved")
		restore := &process{argv: []string{
			filepath.Join(bin, "etcdutl-"+to), "snapshot", "restore", filepath.Join(source, "member/snap/db"), "--skip-hash-check", "--data-dir", restored,
		}}
		_, theirs, err := restore.run(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := output(ctx, "", "cp", "-a", source, data); err != nil {
			return nil, err
		}
		syscall.Sync() // nobody is to pay for the copy
		our, err := watched(ctx, program, "--data-dir", data, "--bin-dir", bin, "--name", "bench", "--target-version", to, "--target-storage", "etcd3")
		if err != nil {
			return nil, err
		}
		ours, bare = append(ours, our), append(bare, theirs)
		for _, dir := range []string{restored, data, data + ".migrate"} {
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
		}
		syscall.Sync()
	}
	our, theirs := median(ours), median(bare)
	what := fmt.Sprintf("migrate %s to %s, %d MiB", fromLine, toLine, migrateSize>>20)
	return []row{
		{what, our.String(), fmt.Sprintf("< %d MiB", migratePeak>>20), our.peak < migratePeak},
		{"bare etcdutl " + toLine + " snapshot restore of the same file", theirs.String(), "", true},
		{what + " / bare restore", fmt.Sprintf("%.2f", our.wall.Seconds()/theirs.wall.Seconds()), fmt.Sprintf("%d", migrateTimes), our.wall <= migrateTimes*theirs.wall},
	}, nil
}

// versionOf is the newest version of a line in a folder of binaries.
func versionOf(bin, line string) (string, error) {
	names, err := filepath.Glob(filepath.Join(bin, "etcd-"+line+".*"))
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%s holds no etcd %s: run make migrate first", bin, line)
	}
	return strings.TrimPrefix(filepath.Base(slices.Max(names)), "etcd-"), nil
}

// watched runs the operator; the peak is its own memory, without that of the
// programs that it runs.
func watched(ctx context.Context, argv ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "DO_NOT_MOVE_BINARIES=true")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var peak int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			c := cost{time.Since(begun), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak}
			if err != nil {
				return c, fmt.Errorf("%s: %w\n%s", filepath.Base(argv[0]), err, &out)
			}
			return c, nil
		case <-tick.C:
			// The high-water mark, so that only what is used in the last
			// moment before the end could be missed.
			peak = max(peak, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is the largest resident memory that a process ever had, in bytes.
func highWater(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it has ended
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// fill makes a data directory with migrateSize bytes of values by a server.
func fill(ctx context.Context, etcd, dir, version string) (err error) {
	var urls [2]string
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		urls[i] = "http://" + l.Addr().String()
		if err := l.Close(); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, etcd, "--name", "bench", "--data-dir", dir,
		"--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
		"--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1], "--initial-cluster", "bench="+urls[1])
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // Wait tells
		if ended := cmd.Wait(); ended != nil && !strings.Contains(ended.Error(), "terminated") {
			err = errors.Join(err, ended)
		}
	}()
	path := "/v3"
	if strings.HasPrefix(version, "3.0.") {
		path = "/v3alpha"
	}
	for range 400 {
		if err = put(ctx, urls[0]+path, -1); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	const writers = 16
	var wg sync.WaitGroup
	wrong := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := w; i < migrateSize/migrateValue && wrong[w] == nil; i += writers {
				wrong[w] = put(ctx, urls[0]+path, i)
			}
		})
	}
	wg.Wait()
	return errors.Join(wrong...)
}

func put(ctx context.Context, url string, i int) error {
	value := bytes.Repeat([]byte(fmt.Sprintf("%015d ", i)), migrateValue/16)
	body, err := json.Marshal(map[string][]byte{"key": fmt.Appendf(nil, "/registry/bench/%07d", i), "value": value})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/kv/put", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}
