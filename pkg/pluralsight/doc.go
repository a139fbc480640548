// Package pluralsight reads who holds a licence of a Pluralsight plan, and takes licences back.
//
// What flows out of [Client] is this package's own types, or a classified failure (package fault), and never a
// mixture: a page is whole or it is an error. That matters because "nobody is on this page" ends, two services later,
// in people's removal. The stock GraphQL client reads {}, null and {"data":{"users":null}} as an empty last page; ours
// refuses each with a reason of its own: see exchange.go and page.go.
//
// The rules for callers:
//
//   - [Client.Users] and [Client.Admins] judge one page. Whether the pages of a sweep fit together (repeated cursors,
//     counts that disagree) is for whoever turns them.
//   - Some fields are optional: productIds, mfaEnabled and teams may be closed to an API key, and then they fail every
//     call that names them. The client finds out which, once, and does without: see optional.go and
//     [Client.Degraded]. User.ProductsKnown says whether an empty ProductIDs means anything.
//   - Reading is repeated as config.Retry says. [Client.Deprovision] never repeats a call that may change something,
//     and what cannot be told apart from success is fault.Unknown: look before doing anything else.
//   - Nobody's address, no token and no byte of an answer's body is in an error, a log line or a metric label.
package pluralsight

//go:generate go tool genqlient
