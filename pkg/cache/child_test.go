package cache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

// childVar names what this test binary does when a test runs it again as
// another process; its arguments are the cache's directory and what the task
// needs beside it.
const childVar = "ETCDIMG_CACHE_TEST_CHILD"

var children = map[string]func(c *cache.Cache, args []string) error{
	// put stores the same few blobs over and over.
	"put": func(c *cache.Cache, args []string) error {
		for range 20 {
			for i := range 5 {
				digest, _, err := c.Put(context.Background(), strings.NewReader(sharedContent(i)))
				if err != nil {
					return err
				}
				f, err := c.Open(digest)
				if err != nil {
					return err
				}
				b, err := io.ReadAll(f)
				f.Close()
				if err != nil || string(b) != sharedContent(i) {
					return fmt.Errorf("blob %d came back with %d bytes, %v", i, len(b), err)
				}
			}
		}
		return nil
	},
	// hang is in the middle of a Put for ever.
	"hang": func(c *cache.Cache, args []string) error {
		r, w := io.Pipe()
		go func() {
			fmt.Fprint(w, strings.Repeat("half", 1<<16))
			fmt.Println("ready")
			<-time.After(time.Hour)
		}()
		_, _, err := c.Put(context.Background(), r)
		return err
	},
	// lock holds a lock for ever.
	"lock": func(c *cache.Cache, args []string) error {
		if _, err := c.Lock(context.Background(), "work", key); err != nil {
			return err
		}
		fmt.Println("ready")
		<-time.After(time.Hour)
		return nil
	},
	// full stores more than the file system will take: a limit on the size of
	// files fails as a full disk does, in the middle of a write.
	"full": func(c *cache.Cache, args []string) error {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
			return err
		}
		_, _, err := c.Put(context.Background(), strings.NewReader(strings.Repeat("x", 4<<20)))
		if err == nil {
			return fmt.Errorf("4 MiB were stored on a disk of 1 MiB")
		}
		fmt.Println(err)
		return nil
	},
	// nobody stores and reads without the rights of root.
	"nobody": func(c *cache.Cache, args []string) error {
		_, _, err := c.Put(context.Background(), strings.NewReader("new"))
		fmt.Println(err)
		f, err := c.Open(args[0])
		if err != nil {
			return err
		}
		return f.Close()
	},
}

func TestMain(m *testing.M) {
	task := os.Getenv(childVar)
	if task == "" {
		os.Exit(m.Run())
	}
	if task == "nobody" && os.Getuid() == 0 {
		if err := unix.Setuid(65534); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	c, err := cache.Open(os.Args[1])
	if err == nil {
		err = children[task](c, os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childCommand(t *testing.T, task, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{dir}, args...)...)
	cmd.Env = append(os.Environ(), childVar+"="+task)
	cmd.Stderr = os.Stderr
	return cmd
}

// startChild starts another process and waits until it says that it is ready.
func startChild(t *testing.T, task, dir string) *exec.Cmd {
	t.Helper()
	cmd := childCommand(t, task, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("process %q said %q, %v", task, line, err)
	}
	return cmd
}

// kill ends a process as kill -9 does, and waits until it is gone.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // tells of the signal
}

func sharedContent(i int) string { return strings.Repeat(fmt.Sprintf("content %d\n", i), 5000) }

func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
