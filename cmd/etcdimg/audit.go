package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/audit/form"
	"github.com/etcdimg/etcdimg/pkg/audit/report"
	"github.com/etcdimg/etcdimg/pkg/audit/vex"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/policy"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// auditFlags are the flags of the audit command.
type auditFlags struct {
	registryFlags
	databaseFlags
	partial  bool
	offline  bool
	vex      []string
	writeVEX string
	policy   string
	keys     []string
	report   string
	since    string
	scan     bool
	all      bool
	output   string
}

// noDatabase is what --db is for those who want no look-up.
const noDatabase = "none"

func newAuditCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit IMAGE|LAYOUT|ARCHIVE",
		Short: "Tell what is wrong with what is in an image, and whether a policy allows it",
		Long: `Look up what is in an image in databases of vulnerabilities (OSV), and hold it
against a policy. Go programs are looked into: a vulnerable function that is called
is told from a package that is only imported and a module that is only required.
Debian packages are compared by their versions. What is said in VEX documents
(OpenVEX) counts: those of --vex, then those that go with the image.

What is in the image is what its SBOM says, or where it has none what syft finds in
its files. A database is a folder or an archive of OSV records on this machine, or
the address of such an archive; several may be given. It must know what the image
has: a database without records of an ecosystem is an error, not an answer.

The exit code is 1 where the policy is broken.`,
		Example: `  etcdimg audit registry.example/etcd:3.6.16-0 --db ./osv --policy policy.yaml --report audit.html
  etcdimg audit dist/hardened --db https://vuln.go.dev/vulndb.zip --db debian-all.zip --write-vex etcd.vex.json`,
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	f.addDatabaseFlags(cmd, "; none for no look-up")
	cmd.Flags().BoolVar(&f.partial, "allow-partial-db", false, "go on where no database knows an ecosystem, and say what was not judged")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "use what addresses of databases gave before")
	cmd.Flags().StringArrayVar(&f.vex, "vex", nil, "file with VEX statements that count before all others (OpenVEX, repeatable)")
	cmd.Flags().StringVar(&f.writeVEX, "write-vex", "", "write what is said about every finding to this file (OpenVEX)")
	cmd.Flags().StringVar(&f.policy, "policy", "", "file with what the image must be like (YAML)")
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "file with a public key; SBOM and VEX count only where its holder attests them (repeatable)")
	cmd.Flags().StringVar(&f.report, "report", "", "write a report to this file (HTML)")
	cmd.Flags().StringVar(&f.since, "since", "", "image from before, to tell what changed since")
	cmd.Flags().BoolVar(&f.scan, "scan", false, "look at the files even where the image has an SBOM")
	cmd.Flags().BoolVar(&f.all, "all", false, "show findings that are settled too")
	output := outputFlag(cmd, "text", "json", "sarif", "markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json", "sarif", "markdown"); err != nil {
			return err
		}
		return runAudit(cmd, args[0], f)
	}
	return cmd
}

// errPolicyBroken is what an audit ends with whose policy does not hold; what
// breaks it is printed before.
var errPolicyBroken = errors.New("the policy is broken")

func runAudit(cmd *cobra.Command, argument string, f auditFlags) (err error) {
	now := time.Now()
	if len(f.databases) == 0 {
		return usagef(cmd, "which database of vulnerabilities? name one with --db, or look at licences, files and signatures alone with --db %s", noDatabase)
	}
	req := audit.Request{Tool: "etcdimg " + thisTool().Version, Reference: argument, Partial: f.partial, Now: now, Scan: f.scan}
	if req.Policy, req.PolicyFile, err = f.loadPolicy(cmd); err != nil {
		return err
	}
	for _, name := range f.vex {
		d, err := readVEX(name)
		if err != nil {
			return err
		}
		req.Statements = append(req.Statements, audit.Given{Name: filepath.Base(name), Document: d})
	}
	if req.Cache, err = openCache(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, req.Cache.Close()) }()
	if len(f.databases) > 1 || f.databases[0] != noDatabase {
		if req.Databases, err = f.openDatabases(cmd, req.Cache, now, f.offline); err != nil {
			return err
		}
	}
	for _, d := range req.Databases {
		defer d.Close()
	}
	if err := f.find(cmd, argument, &req); err != nil {
		return err
	}
	defer req.Source.Close()
	if f.since != "" {
		before := audit.Request{Reference: f.since}
		if err := f.find(cmd, f.since, &before); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
		defer before.Source.Close()
		req.Since = &before
	}
	if req.Checked, err = f.verify(cmd, argument, req.Policy, req.Root); err != nil {
		return err
	}
	result, document, err := audit.Run(cmd.Context(), req)
	if err != nil {
		return err
	}
	if err := f.write(cmd, result, document); err != nil {
		return err
	}
	if result.Policy != nil && result.Policy.Broken {
		return fmt.Errorf("%s: %w: %s", filepath.ToSlash(argument), errPolicyBroken, f.policy)
	}
	return nil
}

func (f *auditFlags) loadPolicy(cmd *cobra.Command) (*policy.Policy, string, error) {
	if f.policy == "" {
		return nil, "", nil
	}
	p, err := policy.Load(f.policy)
	if err == nil && len(f.keys) > 0 {
		p.Keys, p.Identities = f.keys, nil
	}
	return p, f.policy, err
}

func readVEX(name string) (*vex.Document, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, fmt.Errorf("--vex: %w", err)
	}
	d, err := vex.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("--vex: %s: %w", name, err)
	}
	return d, nil
}

func (f *auditFlags) find(cmd *cobra.Command, argument string, req *audit.Request) error {
	client, err := f.client(cmd)
	if err != nil {
		return err
	}
	req.Source, req.Root, err = inspect.Open(cmd.Context(), argument, client)
	return err
}

// verify finds out who signed what, where somebody's word is to count; nil
// where nobody's is.
func (f *auditFlags) verify(cmd *cobra.Command, argument string, p *policy.Policy, root v1.Descriptor) ([]sign.Checked, error) {
	asked := policy.Policy{Keys: f.keys}
	if p != nil {
		asked.Keys, asked.Identities, asked.Trust = p.Keys, p.Identities, p.Trust
	}
	if len(asked.Keys)+len(asked.Identities) == 0 {
		return nil, nil
	}
	trust, err := asked.SignaturesBy()
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(argument); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("signatures in the archive %s can not be checked: unpack it into a layout first", argument)
	}
	place, found, err := f.registryFlags.open(cmd, argument, "")
	if err != nil {
		return nil, err
	}
	if found.Digest != root.Digest {
		return nil, fmt.Errorf("%s named %s, and then %s: name a digest", argument, root.Digest, found.Digest)
	}
	subjects, err := sign.Subjects(cmd.Context(), place, root, true)
	if err != nil {
		return nil, err
	}
	return sign.Verify(cmd.Context(), place, subjects, trust)
}

// write puts the result wherever it is wanted.
func (f *auditFlags) write(cmd *cobra.Command, r *audit.Result, document *vex.Document) error {
	if f.writeVEX != "" {
		if document == nil {
			return usagef(cmd, "--write-vex needs a database: there is nothing to say without findings")
		}
		b, err := document.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(f.writeVEX, b, 0o666); err != nil {
			return fmt.Errorf("--write-vex: %w", err)
		}
	}
	if f.report != "" {
		var b strings.Builder
		if err := report.Write(&b, r); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
		if err := os.WriteFile(f.report, []byte(b.String()), 0o666); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	writers := map[string]func(io.Writer, *audit.Result) error{
		"json": form.JSON, "sarif": form.SARIF, "markdown": form.Markdown,
		"text": func(w io.Writer, r *audit.Result) error { return form.Text(w, r, f.all) },
	}
	return writers[f.output](cmd.OutOrStdout(), r)
}
