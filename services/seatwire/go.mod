module github.com/seatwire/seatwire/services/seatwire

go 1.26.0

require (
	github.com/seatwire/seatwire/pkg v0.0.0
	github.com/seatwire/seatwire/services/deprovisioner v0.0.0
	github.com/seatwire/seatwire/services/fetcher v0.0.0
	github.com/seatwire/seatwire/services/normalizer v0.0.0
	github.com/seatwire/seatwire/services/productiv-publisher v0.0.0
	github.com/seatwire/seatwire/services/simulators v0.0.0
)

require (
	github.com/VividCortex/ewma v1.2.0 // indirect
	github.com/acarl005/stripansi v0.0.0-20180116102854-5a71ef0e047d // indirect
	github.com/clipperhouse/stringish v0.1.1 // indirect
	github.com/clipperhouse/uax29/v2 v2.3.0 // indirect
	github.com/mattn/go-runewidth v0.0.19 // indirect
	github.com/vbauerster/mpb/v8 v8.11.3 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	github.com/seatwire/seatwire/pkg => ../../pkg
	github.com/seatwire/seatwire/services/deprovisioner => ../deprovisioner
	github.com/seatwire/seatwire/services/fetcher => ../fetcher
	github.com/seatwire/seatwire/services/normalizer => ../normalizer
	github.com/seatwire/seatwire/services/productiv-publisher => ../productiv-publisher
	github.com/seatwire/seatwire/services/simulators => ../simulators
)
