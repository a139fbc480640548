module github.com/seatwire/seatwire/services/fetcher

go 1.26.0

require github.com/seatwire/seatwire/pkg v0.0.0

replace github.com/seatwire/seatwire/pkg => ../../pkg
