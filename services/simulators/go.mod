module github.com/seatwire/seatwire/services/simulators

go 1.26.0

require (
	github.com/vektah/gqlparser/v2 v2.5.64
	go.uber.org/goleak v1.3.0
)

require github.com/agnivade/levenshtein v1.2.2 // indirect
