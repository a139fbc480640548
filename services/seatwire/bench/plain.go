package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// plainQuery asks for what the fetcher asks for.
const plainQuery = `query Users($first: Int, $after: String) { users(first: $first, after: $after) {
  totalCount pageInfo { hasNextPage endCursor }
  nodes { psUserId email additionalEmails firstName lastName startedOn createdOn isOnAccount removedOn lastLogin
    currentSsoIdentifier ssoEnabled mfaEnabled productIds teams { edges { isDirect node { id name } } } } } }`

// plainUser is what the fetcher reads of a person.
type plainUser struct {
	PsUserID             string     `json:"psUserId"`
	Email                string     `json:"email"`
	AdditionalEmails     []string   `json:"additionalEmails"`
	FirstName            string     `json:"firstName"`
	LastName             string     `json:"lastName"`
	StartedOn            *time.Time `json:"startedOn"`
	CreatedOn            *time.Time `json:"createdOn"`
	IsOnAccount          bool       `json:"isOnAccount"`
	RemovedOn            *time.Time `json:"removedOn"`
	LastLogin            *time.Time `json:"lastLogin"`
	CurrentSSOIdentifier string     `json:"currentSsoIdentifier"`
	SSOEnabled           bool       `json:"ssoEnabled"`
	MFAEnabled           bool       `json:"mfaEnabled"`
	ProductIDs           []string   `json:"productIds"`
	Teams                struct {
		Edges []struct {
			IsDirect bool `json:"isDirect"`
			Node     struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"node"`
		} `json:"edges"`
	} `json:"teams"`
}

// plain is the peer: read a page, keep who is licensed, post every thousand.
type plain struct {
	graphQL, productiv, key, token string
	http                           http.Client
}

func (p *plain) run(ctx context.Context) (people int, err error) {
	var pending []map[string]string
	after := any(nil)
	for {
		page, err := p.page(ctx, after)
		if err != nil {
			return people, err
		}
		for _, u := range page.Nodes {
			people++
			if !u.IsOnAccount || u.Email == "" {
				continue
			}
			pending = append(pending, map[string]string{"appUserId": u.PsUserID, "email": strings.ToLower(u.Email)})
			if len(pending) == 1000 {
				if err := p.post(ctx, pending); err != nil {
					return people, err
				}
				pending = pending[:0]
			}
		}
		if !page.PageInfo.HasNextPage {
			break
		}
		after = page.PageInfo.EndCursor
	}
	if len(pending) > 0 {
		err = p.post(ctx, pending)
	}
	return people, err
}

type plainPage struct {
	PageInfo struct {
		HasNextPage bool   `json:"hasNextPage"`
		EndCursor   string `json:"endCursor"`
	} `json:"pageInfo"`
	Nodes []plainUser `json:"nodes"`
}

func (p *plain) page(ctx context.Context, after any) (plainPage, error) {
	var answer struct {
		Data struct {
			Users plainPage `json:"users"`
		} `json:"data"`
	}
	err := p.call(ctx, p.graphQL, p.key, map[string]any{
		"query": plainQuery, "variables": map[string]any{"first": 100, "after": after},
	}, &answer)
	return answer.Data.Users, err
}

func (p *plain) post(ctx context.Context, users []map[string]string) error {
	return p.call(ctx, p.productiv, p.token, map[string]any{"provisionedUsers": users}, &struct{}{})
}

func (p *plain) call(ctx context.Context, url, token string, body, out any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulator answered %d", resp.StatusCode)
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
