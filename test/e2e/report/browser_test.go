//go:build e2e

package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long the browser may take for one answer.
const patience = 60 * time.Second

// browser is one headless Chromium, spoken to over the pipe of its DevTools
// protocol: messages of JSON, each ended by a zero byte.
type browser struct {
	cmd  *exec.Cmd
	to   *os.File
	home string
	done chan struct{} // closed when it has said its last
	log  bytes.Buffer  // what it says on its own account; read when it is done

	mu      sync.Mutex
	last    int
	waiting map[int]chan message
	pages   map[string]*page // by session
	gone    error
}

// message is a command, its answer, or an event.
type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
		Data    string `json:"data"`
	} `json:"error,omitempty"`
}

// shared is the browser of all tests of a run; its tabs know nothing of each
// other.
var shared struct {
	once sync.Once
	b    *browser
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.b != nil {
		shared.b.close()
	}
	os.Exit(code)
}

// theBrowser is the run's browser, started when the first test asks for it.
func theBrowser(t testing.TB) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		why := "chromium is not installed; hack/test-tools does it for root on Debian"
		if os.Getenv("ETCDIMG_E2E_STRICT") != "" {
			t.Fatalf("can not be run here, and ETCDIMG_E2E_STRICT is set: %s", why)
		}
		fmt.Printf("*** NOT RUN: %s: %s\n", t.Name(), why)
		t.Skip("NOT RUN: " + why)
	}
	shared.once.Do(func() { shared.b, shared.err = startBrowser(path) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.b
}

func startBrowser(path string) (*browser, error) {
	home, err := os.MkdirTemp("", "etcdimg-browser-")
	if err != nil {
		return nil, err
	}
	fromUs, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	from, toUs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	b := &browser{to: to, home: home, done: make(chan struct{}), waiting: map[int]chan message{}, pages: map[string]*page{}}
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + filepath.Join(home, "profile"),
		"--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--force-color-profile=srgb", "--hide-scrollbars", "--lang=en",
		// Whatever a page would load, it can not.
		"--host-resolver-rules=MAP * ~NOTFOUND",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // which root can not have
	}
	b.cmd = exec.Command(path, append(args, "about:blank")...)
	b.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	b.cmd.ExtraFiles = []*os.File{fromUs, toUs} // 3 and 4, as the protocol has them
	b.cmd.Stderr = &b.log
	b.cmd.WaitDelay = 5 * time.Second
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	fromUs.Close()
	toUs.Close()
	go func() {
		b.read(from)
		_ = b.cmd.Wait()
		from.Close()
		close(b.done)
	}()
	return b, nil
}

// close ends the browser.
func (b *browser) close() {
	_ = b.send(message{ID: 1 << 30, Method: "Browser.close"})
	select {
	case <-b.done:
	case <-time.After(20 * time.Second):
		_ = b.cmd.Process.Kill()
		<-b.done
	}
	b.to.Close()
	os.RemoveAll(b.home)
}

// read hands every message to whom it is for, until the browser is gone.
func (b *browser) read(from io.Reader) {
	r := bufio.NewReader(from)
	for {
		raw, err := r.ReadBytes(0)
		var m message
		if err == nil {
			err = json.Unmarshal(raw[:len(raw)-1], &m)
		}
		b.mu.Lock()
		switch {
		case err != nil:
			b.gone = fmt.Errorf("the browser is gone: %w", err)
			for id, c := range b.waiting {
				close(c)
				delete(b.waiting, id)
			}
		case m.ID != 0:
			if c := b.waiting[m.ID]; c != nil {
				c <- m
				delete(b.waiting, m.ID)
			}
		case b.pages[m.SessionID] != nil:
			b.pages[m.SessionID].note(m)
		}
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (b *browser) send(m message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = b.to.Write(append(raw, 0))
	return err
}

// call sends a command and waits for its answer.
func (b *browser) call(session, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.last++
	m := message{ID: b.last, SessionID: session, Method: method, Params: raw}
	err = b.gone
	b.waiting[m.ID] = answer
	b.mu.Unlock()
	if err == nil {
		err = b.send(m)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			<-b.done
			return fmt.Errorf("%s: the browser ended: %s", method, strings.TrimSpace(b.log.String()))
		case m.Error != nil:
			return fmt.Errorf("%s: %s %s", method, m.Error.Message, m.Error.Data)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s: %w", method, errNoAnswer)
	}
}

var errNoAnswer = errors.New("no answer")
