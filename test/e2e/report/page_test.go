//go:build e2e

package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// view is how somebody looks at a page.
type view struct {
	name          string
	width, height int
	dark          bool
	noScript      bool
	print         bool // as paper has it, on a screen
}

// page is a tab with a file in it.
type page struct {
	b       *browser
	session string

	// Guarded by the browser's mutex.
	loaded   chan struct{}
	requests []string // addresses asked for, the file itself aside
	said     []string // errors and warnings on the console
	file     string
}

// open loads a file as a view has it, and waits until it is there.
func (b *browser) open(t testing.TB, file string, v view) *page {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var target struct{ TargetID string }
	must(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	var attached struct{ SessionID string }
	must(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	p := &page{b: b, session: attached.SessionID, loaded: make(chan struct{}), file: "file://" + file}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	t.Cleanup(func() { _ = b.call("", "Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil) })
	for _, domain := range []string{"Page", "Network", "Runtime", "Log", "DOM", "Accessibility"} {
		must(b.call(p.session, domain+".enable", struct{}{}, nil))
	}
	scheme, media := "light", ""
	if v.dark {
		scheme = "dark"
	}
	if v.print {
		media = "print"
	}
	must(b.call(p.session, "Emulation.setDeviceMetricsOverride", map[string]any{"width": v.width, "height": v.height, "deviceScaleFactor": 1, "mobile": v.width < 600}, nil))
	must(b.call(p.session, "Emulation.setEmulatedMedia", map[string]any{"media": media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil))
	must(b.call(p.session, "Emulation.setScriptExecutionDisabled", map[string]any{"value": v.noScript}, nil))
	must(b.call(p.session, "Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil))
	must(b.call(p.session, "Page.navigate", map[string]any{"url": p.file}, nil))
	select {
	case <-p.loaded:
	case <-time.After(patience):
		t.Fatalf("%s does not load", file)
	}
	return p
}

// note remembers what happened on the page.
func (p *page) note(m message) {
	switch m.Method {
	case "Page.loadEventFired":
		select {
		case <-p.loaded:
		default:
			close(p.loaded)
		}
	case "Network.requestWillBeSent":
		var e struct{ Request struct{ URL string } }
		_ = json.Unmarshal(m.Params, &e)
		if url, _, _ := strings.Cut(e.Request.URL, "#"); url != p.file {
			p.requests = append(p.requests, e.Request.URL)
		}
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		p.said = append(p.said, string(m.Params))
	}
}

// eval runs an expression in the page; what it promises is waited for.
func (p *page) eval(t testing.TB, expression string, result any) {
	t.Helper()
	var got struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if err := p.b.call(p.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got); err != nil {
		t.Fatal(err)
	}
	if e := got.ExceptionDetails; e != nil {
		t.Fatalf("%s %s\nin %.300s", e.Text, e.Exception.Description, expression)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(got.Result.Value, result); err != nil {
		t.Fatalf("%v in %s, from %.300s", err, got.Result.Value, expression)
	}
}

// key presses and releases a key: Tab, Enter.
func (p *page) key(t testing.TB, key string, code int) {
	t.Helper()
	for _, kind := range []string{"rawKeyDown", "keyUp"} {
		if err := p.b.call(p.session, "Input.dispatchKeyEvent", map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// typeText types into what has the focus.
func (p *page) typeText(t testing.TB, text string) {
	t.Helper()
	if err := p.b.call(p.session, "Input.insertText", map[string]any{"text": text}, nil); err != nil {
		t.Fatal(err)
	}
}

// pdf prints the page on A4.
func (p *page) pdf(t testing.TB) []byte {
	t.Helper()
	var got struct{ Data string }
	if err := p.b.call(p.session, "Page.printToPDF", map[string]any{"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false, "preferCSSPageSize": true}, &got); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(got.Data)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, p.name()+".pdf", raw)
	return raw
}

// picture keeps what the page looks like, where somebody wants to look:
// ETCDIMG_TEST_PICTURES names the folder.
func (p *page) picture(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("ETCDIMG_TEST_PICTURES") == "" {
		return
	}
	var got struct{ Data string }
	if err := p.b.call(p.session, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": p.whole(t)}, &got); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(got.Data)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, p.name()+"-"+name+".png", raw)
}

func (p *page) whole(t testing.TB) map[string]any {
	t.Helper()
	var size struct{ Width, Height float64 }
	p.eval(t, "({Width: innerWidth, Height: Math.min(document.documentElement.scrollHeight, 8000)})", &size)
	return map[string]any{"x": 0, "y": 0, "width": size.Width, "height": size.Height, "scale": 1}
}

func (p *page) name() string { return strings.TrimSuffix(filepath.Base(p.file), ".html") }

func keep(t testing.TB, name string, raw []byte) {
	t.Helper()
	dir := os.Getenv("ETCDIMG_TEST_PICTURES")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// quiet asserts that the page asked for nothing and complained of nothing.
func (p *page) quiet(t testing.TB) {
	t.Helper()
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for _, url := range p.requests {
		t.Errorf("the page asked for %s", url)
	}
	for _, said := range p.said {
		t.Errorf("the console says %s", fmt.Sprintf("%.400s", said))
	}
}
