package debian

// rules is everything that stands in for a maintainer script or for dpkg, in
// the order in which it is done. A package whose scripts are to be covered is
// one more row.
var rules = []rule{
	{
		pkg: "ca-certificates", scripts: []string{"postinst", "triggers"},
		makes: "the certificate bundle and its index of links", component: CertificatesComponent,
		when:  func(r *ruleRun) bool { return r.pkg != nil || len(r.opts.Certificates) > 0 },
		apply: applyCertificates,
	},
	{
		pkg: "tzdata", scripts: []string{"postinst"},
		makes: "/etc/localtime, UTC", // and no /etc/timezone: the script only updates one that is there
		apply: func(r *ruleRun) error { return r.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC", "tzdata") },
	},
	{
		makes: "the package list that scanners read where there is no dpkg",
		when:  func(r *ruleRun) bool { return r.find("dpkg") == nil && len(r.pkgs) > 0 },
		apply: applyStatusFiles,
	},
}
