package debian

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// pamProfile is a file of /usr/share/pam-configs, as pam-auth-update(8)
// describes it: what a module wants to have in the common configuration.
type pamProfile struct {
	id       string // the file's name
	priority int
	enabled  bool // Default: yes
	fields   map[string][]string
}

// pamTypes are the files /etc/pam.d/common-* that pam-auth-update manages, with
// the field of a profile that is meant for each, and the word that a line of
// the file begins with.
var pamTypes = []struct{ file, field, word string }{
	{"auth", "Auth", "auth"},
	{"account", "Account", "account"},
	{"password", "Password", "password"},
	{"session", "Session", "session"},
	{"session-noninteractive", "Session", "session"},
}

const pamConfigs = "/usr/share/pam-configs"

// applyPAM fills in the templates of the common PAM configuration with the
// profiles that are on by default, and writes down, as pam-auth-update(8)
// does, what it was that it filled in.
func applyPAM(r *ruleRun) error {
	var all, on []*pamProfile
	for _, file := range r.shipped(pamConfigs) {
		data, err := r.read(file)
		if err != nil {
			return err
		}
		p, err := parsePAMProfile(path.Base(file), string(data))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *pamProfile) int {
		return cmp.Or(-cmp.Compare(a.priority, b.priority), -cmp.Compare(a.id, b.id))
	})
	seen := ""
	for _, p := range all {
		seen += p.id + "\n"
		if p.enabled {
			on = append(on, p)
		}
	}
	for _, t := range pamTypes {
		var mine []*pamProfile
		for _, p := range on {
			if t.file != "session-noninteractive" || !p.interactiveOnly() {
				mine = append(mine, p)
			}
		}
		primary, savedPrimary := pamBlock(mine, t.field, t.word, "Primary")
		additional, savedAdditional := pamBlock(mine, t.field, t.word, "Additional")
		template, err := r.read("/usr/share/pam/common-" + t.file)
		if err != nil {
			return err
		}
		var b strings.Builder
		for line := range strings.Lines(string(template)) {
			switch {
			case strings.HasPrefix(line, "$") && strings.Contains(line, "_primary"):
				b.WriteString(primary)
			case strings.HasPrefix(line, "$") && strings.Contains(line, "_additional"):
				b.WriteString(additional)
			default:
				b.WriteString(line)
			}
		}
		if err := text("/etc/pam.d/common-"+t.file, b.String()).make(r); err != nil {
			return err
		}
		if err := text("/var/lib/pam/"+t.file, savedPrimary+savedAdditional).make(r); err != nil {
			return err
		}
	}
	return text("/var/lib/pam/seen", seen).make(r)
}

// pamPermit keeps a stack alive that has no module of its own.
const pamPermit = "[default=1]\t\t\tpam_permit.so\n"

// pamBlock is one block of a common file, and how it is written down below
// /var/lib/pam. "end" in a control field becomes the number of lines that are
// to be jumped over to get out of the block.
func pamBlock(profiles []*pamProfile, field, word, block string) (lines, saved string) {
	var modules [][]string
	left := 0
	for _, p := range profiles {
		if len(p.fields[field+"-Type"]) == 0 || p.fields[field+"-Type"][0] != block {
			continue
		}
		module := p.fields[field]
		if initial := p.fields[field+"-Initial"]; len(modules) == 0 && len(initial) > 0 {
			module = initial // the first of a stack asks; the others use the answer
		}
		modules = append(modules, module)
		left += len(module)
		if len(module) > 0 {
			saved += "Module: " + p.id + "\n" + strings.Join(module, "\n") + "\n"
		}
	}
	if block == "Additional" {
		left-- // nothing follows that could be jumped to
	}
	if block == "Primary" && left == 0 {
		lines = word + "\t" + pamPermit
	}
	if block == "Primary" && len(modules) == 0 {
		saved = "Module: null\n" + pamPermit
	}
	for _, module := range modules {
		for _, line := range module {
			lines += word + "\t" + pamLine(line, left) + "\n"
			left--
		}
	}
	return lines, saved
}

// pamLine writes control field and module as they are, options one space apart.
func pamLine(line string, jump int) string {
	control, rest, _ := strings.Cut(line, "]")
	if strings.HasPrefix(line, "[") {
		control += "]"
	} else {
		control, rest = line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			control, rest = line[:i], line[i:]
		}
	}
	module := strings.TrimLeft(rest, " \t")
	gap := rest[:len(rest)-len(module)]
	options := ""
	if i := strings.IndexAny(module, " \t"); i >= 0 {
		module, options = module[:i], module[i:]
	}
	head := strings.ReplaceAll(control+gap+module, "end", strconv.Itoa(max(jump, 0)))
	return head + " " + strings.Join(strings.Fields(options), " ")
}

func (p *pamProfile) interactiveOnly() bool {
	v := p.fields["Session-Interactive-Only"]
	return len(v) > 0 && v[0] == "yes"
}

// parsePAMProfile reads fields "Name: value" whose values go on in indented
// lines.
func parsePAMProfile(id, data string) (*pamProfile, error) {
	p := &pamProfile{id: id, fields: map[string][]string{}}
	current := ""
	for line := range strings.Lines(data) {
		line = strings.TrimRight(line, " \t\r\n")
		name, value, ok := strings.Cut(line, ":")
		switch {
		case line == "":
		case line[0] == ' ' || line[0] == '\t':
			if current == "" {
				return nil, fmt.Errorf("%.60q belongs to no field", line)
			}
			p.fields[current] = append(p.fields[current], strings.TrimLeft(line, " \t"))
		case !ok || strings.ContainsAny(name, " \t"):
			return nil, fmt.Errorf("%.60q is not a field", line)
		default:
			current = strings.TrimSuffix(name, "-Final")
			p.fields[current] = nil
			if value = strings.TrimSpace(value); value != "" {
				p.fields[current] = []string{value}
			}
		}
	}
	if v := p.fields["Priority"]; len(v) > 0 {
		n, err := strconv.Atoi(v[0])
		if err != nil {
			return nil, fmt.Errorf("priority %q is not a number", v[0])
		}
		p.priority = n
	}
	p.enabled = len(p.fields["Default"]) > 0 && p.fields["Default"][0] == "yes"
	return p, nil
}
