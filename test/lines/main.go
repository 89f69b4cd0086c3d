// Command lines fills a folder with the programs of every etcd line, compiled
// for this machine, as etcd-V, etcdctl-V and etcdutl-V: what the tests of
// migrate run.
//
//	lines FOLDER
//
// What is there already is not made again. $ETCDIMG_TEST_STORE names the cache;
// without it a folder beside FOLDER is used.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/etcd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: lines FOLDER")
		os.Exit(2)
	}
	if err := fill(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "lines:", err)
		os.Exit(1)
	}
}

func fill(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	at := os.Getenv("ETCDIMG_TEST_STORE")
	if at == "" {
		at = filepath.Join(filepath.Dir(filepath.Clean(dir)), "store")
	}
	store, err := cache.Open(at)
	if err != nil {
		return err
	}
	defer store.Close()
	var wrong []error
	for _, l := range etcd.Lines() {
		if err := line(ctx, dir, store, l); err != nil {
			wrong = append(wrong, fmt.Errorf("etcd %s: %w", l.Newest, err))
		}
	}
	return errors.Join(wrong...)
}

func line(ctx context.Context, dir string, store *cache.Cache, l etcd.Line) error {
	if strings.Contains(l.Newest, "-") { // a pre-release: no line of its own yet
		return nil
	}
	names, err := etcd.BinariesOf(l.Newest, nil)
	if err != nil {
		return err
	}
	missing := false
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name+"-"+l.Newest)); err != nil {
			missing = true
		}
	}
	if !missing {
		return nil
	}
	env := etcd.NewGo(os.Environ(), etcd.Processes{})
	pin, err := (&etcd.Resolver{Go: env, Store: store}).Resolve(ctx, etcd.Request{Version: l.Newest})
	if err != nil {
		return err
	}
	c := &etcd.Compiler{Go: env, Store: store}
	made, err := c.Compile(ctx, pin, runtime.GOARCH, names)
	if err != nil {
		return err
	}
	for name, b := range made {
		if err := place(c.Content(b).Open, filepath.Join(dir, name+"-"+l.Newest)); err != nil {
			return err
		}
	}
	fmt.Println(l.Newest)
	return nil
}

func place(open func() (io.ReadCloser, error), name string) error {
	from, err := open()
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		return errors.Join(err, to.Close())
	}
	if err := to.Close(); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
