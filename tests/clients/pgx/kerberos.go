package main

import (
	"errors"
	"os"
	"strings"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/spnego"
)

// kerberos gives pgx, which brings no GSSAPI of its own, the tickets of the credential cache.
type kerberos struct {
	client *client.Client
}

func newKerberos() (*kerberos, error) {
	settings, err := config.Load(os.Getenv("KRB5_CONFIG"))
	if err != nil {
		return nil, err
	}
	cache, err := credentials.LoadCCache(strings.TrimPrefix(os.Getenv("KRB5CCNAME"), "FILE:"))
	if err != nil {
		return nil, err
	}
	found, err := client.NewFromCCache(cache, settings, client.DisablePAFXFAST(true))
	return &kerberos{found}, err
}

func (k *kerberos) GetInitToken(host, service string) ([]byte, error) {
	return k.GetInitTokenFromSPN(service + "/" + host)
}

func (k *kerberos) GetInitTokenFromSPN(spn string) ([]byte, error) {
	ticket, key, err := k.client.GetServiceTicket(spn)
	if err != nil {
		return nil, err
	}
	wanted := []int{gssapi.ContextFlagMutual, gssapi.ContextFlagInteg, gssapi.ContextFlagConf}
	token, err := spnego.NewKRB5TokenAPREQ(k.client, ticket, key, wanted, []int{flags.APOptionMutualRequired})
	if err != nil {
		return nil, err
	}
	return token.Marshal()
}

func (k *kerberos) Continue(answer []byte) (bool, []byte, error) {
	var token spnego.KRB5Token
	if err := token.Unmarshal(answer); err != nil {
		return false, nil, err
	}
	if token.IsKRBError() || !token.IsAPRep() {
		return false, nil, errors.New("the server did not prove itself")
	}
	return true, nil, nil
}
