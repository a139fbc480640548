// Package productivsim is Productiv's developer API as a stateful, strict simulator: the ground that the
// publisher's tests, benchmarks and demo stand on, because the vendor offers no sandbox.
//
// What goes in: HTTP calls to the token endpoint, to the provisioned-users endpoints, and to the two workflow
// endpoints. What comes out: the documented answers, or the trouble that a Switch or a Fault asks for. What stays:
// the truth about each app's list (Users), how it came to be (History), and who asked what (Requests, Counts). A
// test judges a client by these three and never by what the client says of itself.
//
// Three rules keep it honest:
//
//   - It imports nothing of ours and shares no type with any client, so a wrong member name on either side is a
//     failing test and not an agreement.
//   - It is strict where the documentation speaks (1000 users a call, both ids required, JSON body on DELETE) and
//     has a switch where the documentation is silent (add or replace, which member is the key, what an empty array
//     does). The vendor note of this project numbers these questions A1 to A15.
//   - It is deterministic: the same Options, calls and Seed give the same answers. Only access tokens are random.
//
// A call passes these steps, in this order, all in serve.go: ledger entry, body, latency, fault "before", the
// endpoint itself (token, scope, tenant, limits, effect), fault "after", ledger entry closed, bytes on the wire. The
// entry is closed before the last byte leaves; so a client that has its answer finds its call in Requests.
package productivsim
