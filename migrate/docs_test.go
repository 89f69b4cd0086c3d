package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	stamps "github.com/etcdimg/etcdimg/migrate/internal/version"
)

var update = flag.Bool("update", false, "write the generated parts of docs/migrate.md anew")

const docs = "../docs/migrate.md"

// lines are the lines that the documentation has a table of, oldest first.
var lines = []string{"2.3", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7"}

// usualFacts are those of a directory that a line's server was run on with no
// flags of note and stopped.
func usualFacts(t testing.TB, line string) plan.Facts {
	t.Helper()
	f := plan.Facts{At: stampOf(t, line), Tail: plan.TailOther, SameIDs: true}
	switch line {
	case "2.3":
		f.V2Keys = true
	case "3.5":
		f.Tail = plan.TailAttributes
	case "3.6", "3.7":
		f.Tail = plan.TailClean
	}
	return f
}

func stampOf(t testing.TB, line string) stamps.Stamp {
	t.Helper()
	s, err := stamps.ParseStamp(line + ".0/" + storageOf(line+".0"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// usualWay is the way between lines, with all of them bundled.
func usualWay(t testing.TB, from, to string) []plan.Step {
	t.Helper()
	all := plan.Bundled{
		Server: func(l stamps.Line) (stamps.Version, bool) {
			return stamps.Version{Major: l.Major, Minor: l.Minor}, true
		},
		Restores: func(v stamps.Version) bool { return v.Major == 3 },
	}
	for _, l := range lines {
		all.Lines = append(all.Lines, stampOf(t, l).Version.Line())
	}
	steps, err := plan.Find(usualFacts(t, from), stampOf(t, to), all)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func keptBy(f plan.Facts, steps []plan.Step) plan.Kept {
	var kinds []plan.Kind
	for _, s := range steps {
		kinds = append(kinds, s.Kind)
	}
	return plan.Keeps(kinds, f.SameIDs)
}

func pairsTable(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, "| from | to | steps | revisions | history | leases | TTLs | membership |\n|---|---|---|---|---|---|---|---|")
	word := map[bool]string{true: "kept", false: "–"}
	for _, from := range lines {
		for _, to := range lines {
			if from == to {
				continue
			}
			steps := usualWay(t, from, to)
			var words []string
			for _, s := range steps {
				words = append(words, string(s.Kind)+" "+s.To.Version.Line().String())
			}
			k := keptBy(usualFacts(t, from), steps)
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", from, to, strings.Join(words, ", "),
				word[k.Revisions], word[k.History], word[k.Leases], word[k.TTLs], word[k.Membership])
		}
	}
	return b.String()
}

// The generated parts of the documentation are what the program says and plans;
// -update writes them. That the plans are true is TestEveryPair's to show.
func TestTheDocumentationIsUpToDate(t *testing.T) {
	var help bytes.Buffer
	if code := run([]string{"--help"}, func(string) string { return "" }, &help, &help); code != 0 {
		t.Fatal(code)
	}
	old, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	for name, part := range map[string]string{"help": "```\n" + help.String() + "```\n", "pairs": pairsTable(t)} {
		begin, end := "<!-- "+name+": generated -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no part %q", docs, name)
		}
		text = before + begin + part + end + after
	}
	if text == string(old) {
		return
	}
	if !*update {
		t.Fatalf("%s is out of date: go test ./migrate -run Documentation -update", docs)
	}
	if err := os.WriteFile(docs, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
