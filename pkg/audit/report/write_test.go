package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/audit/report"
	"github.com/etcdimg/etcdimg/pkg/audit/report/reporttest"
)

var update = flag.Bool("update", false, "write golden files anew")

func write(t testing.TB, r *audit.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTheReportsAreAsTheyWere(t *testing.T) {
	for name, r := range map[string]*audit.Result{"sample": reporttest.Sample(), "bare": reporttest.Bare()} {
		file := filepath.Join("testdata", name+".html")
		got := write(t, r)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the report is no longer %s; go test -update ./pkg/audit/report writes it anew", file)
		}
	}
}

// Nothing in the file is an address that a browser would ask, and nothing but
// what the policy names by its digest is style or script.
func TestTheReportLoadsNothing(t *testing.T) {
	for _, r := range []*audit.Result{reporttest.Sample(), reporttest.Bare(), reporttest.Hostile(), reporttest.Large()} {
		got := string(write(t, r))
		for _, m := range regexp.MustCompile(`(?i)<(link|img|iframe|object|embed|form|base|audio|video|source|input[^>]+src)\b`).FindAllString(got, -1) {
			t.Errorf("the report has %s", m)
		}
		if strings.Contains(got, "@import") || strings.Contains(got, "url(") {
			t.Error("the style loads something")
		}
		policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]+)"`).FindStringSubmatch(got)
		if policy == nil {
			t.Fatal("the report has no policy")
		}
		for _, kind := range []string{"style", "script"} {
			elements := regexp.MustCompile(`(?s)<`+kind+`>(.*?)</`+kind+`>`).FindAllStringSubmatch(got, -1)
			if len(elements) != 1 {
				t.Fatalf("the report has %d elements %s", len(elements), kind)
			}
			sum := sha256.Sum256([]byte(elements[0][1]))
			want := kind + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
			if !strings.Contains(html.UnescapeString(policy[1]), want) {
				t.Errorf("the policy %s does not have %s", policy[1], want)
			}
		}
		for _, want := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(html.UnescapeString(policy[1]), want) {
				t.Errorf("the policy does not say %s", want)
			}
		}
	}
}

func TestHostileTextsAreEscaped(t *testing.T) {
	got := string(write(t, reporttest.Hostile()))
	for _, markup := range []string{"<img", "<script>document.title", "</title><script", "javascript:alert", "ZgotmplZ", "\x00", "\u202e"} {
		if strings.Contains(got, markup) {
			t.Errorf("the report has %q", markup)
		}
	}
	if !strings.Contains(got, "&lt;script&gt;document.title") {
		t.Error("the text is not there at all")
	}
	if !utf8.ValidString(got) {
		t.Error("the report is not UTF-8")
	}
}

// What nobody looked for is not said to be absent.
func TestTheReportDoesNotSayMoreThanIsKnown(t *testing.T) {
	bare := string(write(t, reporttest.Bare()))
	for _, want := range []string{"No database was given", "No policy was given", "No signature was found", "No image from before was given", "a scan of its files", "No verdict"} {
		if !strings.Contains(bare, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	for _, lie := range []string{"No vulnerability is known", "Every rule holds", "Nothing changed", ">Allowed<"} {
		if strings.Contains(bare, lie) {
			t.Errorf("the report says %q, and nobody looked", lie)
		}
	}
	r := reporttest.Sample()
	r.Findings = nil
	if got := string(write(t, r)); !strings.Contains(got, "No vulnerability is known in what was judged") {
		t.Error("the report does not tell that something was not judged")
	}
}

// One line for a package of all architectures, with the digest of each.
func TestEqualPackagesAreListedOnce(t *testing.T) {
	got := string(write(t, reporttest.Sample()))
	if n := strings.Count(got, `scope="row">libc6`); n != 1 {
		t.Errorf("libc6 has %d rows", n)
	}
	for _, arch := range []string{"amd64", "arm64", "ppc64le", "s390x"} {
		if !regexp.MustCompile(`<li>` + arch + ` <code>sha256:[0-9a-f]{64}</code>`).MatchString(got) {
			t.Errorf("no digest for %s", arch)
		}
	}
}

func TestTheVerdictIsThePolicys(t *testing.T) {
	r := reporttest.Sample()
	if got := string(write(t, r)); !strings.Contains(got, "<title>Audit of etcd 3.6.16: Not allowed</title>") {
		t.Error("a broken policy does not show in the title")
	}
	r.Policy.Broken = false
	r.Policy.Breaks = r.Policy.Breaks[1:2]
	got := string(write(t, r))
	if !strings.Contains(got, "<title>Audit of etcd 3.6.16: Allowed</title>") || !strings.Contains(got, "hold, with 1 exception") {
		t.Error("an image that is allowed with an exception is not told as one")
	}
}

func TestTheSameResultGivesTheSameBytes(t *testing.T) {
	for range 3 {
		if !bytes.Equal(write(t, reporttest.Large()), write(t, reporttest.Large())) {
			t.Fatal("two reports of one result differ")
		}
	}
}

func TestAWriterThatFailsIsTold(t *testing.T) {
	if err := report.Write(full{}, reporttest.Bare()); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
