package audit

import (
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/audit/osv"
)

func TestWhoSaysHowBadItIs(t *testing.T) {
	for _, tt := range []struct {
		name, record string
		want         Severity
	}{
		{"nobody", `{}`, Unknown},
		{"a vector of CVSS 3.1", `{"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}`, Critical},
		{"of 3.0", `{"severity":[{"type":"CVSS_V3","score":"CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H"}]}`, Medium},
		{"of 4.0", `{"severity":[{"type":"CVSS_V4","score":"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N"}]}`, High},
		{"of 2", `{"severity":[{"type":"CVSS_V2","score":"AV:N/AC:L/Au:N/C:N/I:N/A:P"}]}`, Medium},
		{"two vectors: the worse", `{"severity":[{"type":"CVSS_V3","score":"CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H"},{"type":"CVSS_V4","score":"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N"}]}`, High},
		{"a vector that is none", `{"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:X"}]}`, Unknown},
		{"Debian's urgency", `{"affected":[{"ecosystem_specific":{"urgency":"low**"}}]}`, Low},
		{"Debian has not looked", `{"affected":[{"ecosystem_specific":{"urgency":"not yet assigned"}}]}`, Unknown},
		{"Debian's urgency, and a vector", `{"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"affected":[{"ecosystem_specific":{"urgency":"low"}}]}`, Critical},
		{"Debian says it does not matter", `{"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"affected":[{"ecosystem_specific":{"urgency":"unimportant"}}]}`, Negligible},
		{"GitHub's word", `{"database_specific":{"severity":"MODERATE"}}`, Medium},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.record[1:]
			if body != "}" {
				body = "," + body
			}
			if !strings.Contains(tt.record, "affected") {
				body = `,"affected":[{}]` + body
			}
			r, err := osv.Parse([]byte(`{"id":"X"` + body))
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := severityOf(r, r.Affected); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
