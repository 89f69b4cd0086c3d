module etcdimg.build/etcd-3.1

go 1.26.0

require github.com/coreos/etcd v3.1.20+incompatible

require (
	github.com/beorn7/perks v1.0.0
	github.com/bgentry/speakeasy v0.1.0
	github.com/cockroachdb/cmux v0.0.0-20160228191917-112f0506e774
	github.com/coreos/bbolt v1.3.5
	github.com/coreos/go-semver v0.3.0
	github.com/coreos/go-systemd v0.0.0-20190321100706-95778dfbb74e
	github.com/coreos/pkg v0.0.0-20160727233714-3ac0863d7acf
	github.com/dustin/go-humanize v1.0.0
	github.com/ghodss/yaml v1.0.0
	github.com/gogo/protobuf v1.3.2
	github.com/golang/groupcache v0.0.0-20210331224755-41bb18bfe9da
	github.com/golang/protobuf v1.2.0
	github.com/google/btree v1.0.0
	github.com/grpc-ecosystem/go-grpc-prometheus v0.0.0-20160910222444-6b7015e65d36
	github.com/grpc-ecosystem/grpc-gateway v1.1.0
	github.com/inconshreveable/mousetrap v1.1.0
	github.com/jonboulle/clockwork v0.1.0
	github.com/karlseguin/ccache v2.0.2+incompatible
	github.com/mattn/go-runewidth v0.0.2
	github.com/olekukonko/tablewriter v0.0.0-20170122224234-a0225b3f23b5
	github.com/prometheus/client_golang v0.9.1
	github.com/prometheus/client_model v0.0.0-20190129233127-fd36f4220a90
	github.com/prometheus/common v0.4.1
	github.com/prometheus/procfs v0.0.2
	github.com/spf13/cobra v0.0.3
	github.com/spf13/pflag v1.0.1
	github.com/ugorji/go v0.0.0-20170107133203-ded73eae5db7
	github.com/urfave/cli v1.20.0
	github.com/xiang90/probing v0.0.0-20190116061207-43a291ad63a2
	golang.org/x/crypto v0.0.0-20220411220226-7b82a4e95df4
	golang.org/x/net v0.7.0
	golang.org/x/sys v0.5.0
	golang.org/x/time v0.0.0-20180412165947-fbb02b2291d2
	google.golang.org/genproto v0.0.0-20180817151627-c66870c02cf8
	google.golang.org/grpc v1.0.4
	gopkg.in/cheggaaa/pb.v1 v1.0.25
	gopkg.in/yaml.v2 v2.2.1
)

require (
	github.com/matttproud/golang_protobuf_extensions v1.0.1 // indirect
	golang.org/x/text v0.7.0 // indirect
)

replace github.com/coreos/bbolt => go.etcd.io/bbolt v1.3.12

replace github.com/ugorji/go => ./edited/github.com/ugorji/go
