package report

import (
	"slices"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// rule is a rule of the policy, and whether it holds.
type rule struct {
	Name string
	Mark mark
	Note string
}

// policyBreak is where a rule does not hold.
type policyBreak struct {
	audit.Break
	Mark  mark
	Note  string
	Where string // index, amd64
	Every bool   // image has it
}

func (p *page) policy() ([]rule, []policyBreak) {
	if p.Policy == nil {
		return nil, nil
	}
	var breaks []policyBreak
	open, excused := map[string]int{}, map[string]int{}
	for _, b := range p.Policy.Breaks {
		v := policyBreak{Break: b, Mark: mark{"break", "bad", "Break"}, Where: p.subject(b.Digest), Every: len(b.Archs) > 0 && p.everywhere(b.Archs)}
		if e := b.Exception; e != nil {
			v.Note = excepted(*e)
			v.Mark = mark{"break-expired", "bad", "Break, exception expired"}
			if !e.Expired {
				v.Mark = mark{"break-excepted", "info", "Excepted break"}
			}
		}
		if v.Mark.State == "break-excepted" {
			excused[b.Rule]++
		} else {
			open[b.Rule]++
		}
		breaks = append(breaks, v)
	}
	slices.SortStableFunc(breaks, func(a, b policyBreak) int {
		switch x, y := a.Mark.State == "break-excepted", b.Mark.State == "break-excepted"; {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	})
	names := slices.Clone(p.Policy.Rules)
	for _, b := range breaks {
		names = add(names, b.Rule)
	}
	var rules []rule
	for _, name := range names {
		r := rule{Name: name, Mark: mark{"holds", "good", "Holds"}}
		if n := excused[name]; n > 0 {
			r.Mark = mark{"holds-excepted", "info", "Holds with exceptions"}
			r.Note = count(n, "break is excepted", "breaks are excepted")
		}
		if n := open[name]; n > 0 {
			r.Mark = mark{"broken", "bad", "Broken"}
			note := count(n, "break", "breaks")
			if r.Note != "" {
				note += "; " + r.Note
			}
			r.Note = note
		}
		rules = append(rules, r)
	}
	return rules, breaks
}

// risk is something about the files or the configuration, in all images that
// have it.
type risk struct {
	Kind, Path, Detail string
	Archs              []string
	Every              bool // image has it
}

func (p *page) risks() []risk {
	var all []risk
	places := map[audit.Risk]int{}
	for _, i := range p.Images {
		for _, r := range i.Risks {
			at, known := places[r]
			if !known {
				at = len(all)
				places[r] = at
				all = append(all, risk{Kind: riskInWords(r.Kind), Path: r.Path, Detail: r.Detail})
			}
			all[at].Archs = add(all[at].Archs, i.Arch)
		}
	}
	for i := range all {
		all[i].Every = p.everywhere(all[i].Archs)
	}
	return all
}

func riskInWords(k audit.RiskKind) string {
	switch k {
	case audit.Setuid:
		return "runs with another user's or group's rights"
	case audit.WorldWritable:
		return "everybody may write to it"
	case audit.Shell:
		return "a shell"
	case audit.RootUser:
		return "starts as root"
	}
	return string(k)
}
