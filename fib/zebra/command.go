package zebra

import "fmt"

// command is what a message asks for or tells, whatever its number in the release that is spoken. Its numbers are in
// commandTable.
type command int

// The commands of all releases from 2.0 to 10.7. The first 111 or so are those of FRR's developer document.
const (
	cmdInterfaceAdd command = iota
	cmdInterfaceDelete
	cmdInterfaceAddressAdd
	cmdInterfaceAddressDelete
	cmdInterfaceUp
	cmdInterfaceDown
	cmdInterfaceSetMaster
	cmdInterfaceSetProtodown
	cmdRouteAdd
	cmdRouteDelete
	cmdRouteNotifyOwner
	cmdRedistributeAdd
	cmdRedistributeDelete
	cmdRedistributeDefaultAdd
	cmdRedistributeDefaultDelete
	cmdRouterIDAdd
	cmdRouterIDDelete
	cmdRouterIDUpdate
	cmdHello
	cmdCapabilities
	cmdNexthopRegister
	cmdNexthopUnregister
	cmdNexthopUpdate
	cmdInterfaceNbrAddressAdd
	cmdInterfaceNbrAddressDelete
	cmdInterfaceBfdDestUpdate
	cmdBfdDestRegister
	cmdBfdDestDeregister
	cmdBfdDestUpdate
	cmdBfdDestReplay
	cmdRedistributeRouteAdd
	cmdRedistributeRouteDel
	cmdVRFUnregister
	cmdVRFAdd
	cmdVRFDelete
	cmdVRFLabel
	cmdInterfaceVrfUpdate
	cmdBfdClientRegister
	cmdBfdClientDeregister
	cmdInterfaceEnableRadv
	cmdInterfaceDisableRadv
	cmdNexthopLookupMrib
	cmdInterfaceLinkParams
	cmdMplsLabelsAdd
	cmdMplsLabelsDelete
	cmdMplsLabelsReplace
	cmdSrPolicySet
	cmdSrPolicyDelete
	cmdSrPolicyNotifyStatus
	cmdIpmrRouteStats
	cmdLabelManagerConnect
	cmdLabelManagerConnectAsync
	cmdGetLabelChunk
	cmdReleaseLabelChunk
	cmdFecRegister
	cmdFecUnregister
	cmdFecUpdate
	cmdAdvertiseDefaultGw
	cmdAdvertiseSviMacip
	cmdAdvertiseSubnet
	cmdAdvertiseAllVni
	cmdLocalEsAdd
	cmdLocalEsDel
	cmdRemoteEsVtepAdd
	cmdRemoteEsVtepDel
	cmdLocalEsEviAdd
	cmdLocalEsEviDel
	cmdVniAdd
	cmdVniDel
	cmdL3vniAdd
	cmdL3vniDel
	cmdRemoteVtepAdd
	cmdRemoteVtepDel
	cmdMacipAdd
	cmdMacipDel
	cmdIpPrefixRouteAdd
	cmdIpPrefixRouteDel
	cmdRemoteMacipAdd
	cmdRemoteMacipDel
	cmdDuplicateAddrDetection
	cmdPwAdd
	cmdPwDelete
	cmdPwSet
	cmdPwUnset
	cmdPwStatusUpdate
	cmdRuleAdd
	cmdRuleDelete
	cmdRuleNotifyOwner
	cmdTableManagerConnect
	cmdGetTableChunk
	cmdReleaseTableChunk
	cmdIpsetCreate
	cmdIpsetDestroy
	cmdIpsetEntryAdd
	cmdIpsetEntryDelete
	cmdIpsetNotifyOwner
	cmdIpsetEntryNotifyOwner
	cmdIptableAdd
	cmdIptableDelete
	cmdIptableNotifyOwner
	cmdVxlanFloodControl
	cmdVxlanSgAdd
	cmdVxlanSgDel
	cmdVxlanSgReplay
	cmdMlagProcessUp
	cmdMlagProcessDown
	cmdMlagClientRegister
	cmdMlagClientUnregister
	cmdMlagForwardMsg
	cmdNHGAdd
	cmdNHGDel
	cmdNHGNotifyOwner
	cmdEvpnRemoteNhAdd
	cmdEvpnRemoteNhDel
	cmdSrv6LocatorAdd
	cmdSrv6LocatorDelete
	cmdSrv6ManagerGetLocatorChunk
	cmdSrv6ManagerReleaseLocatorChunk
	cmdError
	cmdClientCapabilities
	cmdOpaqueMessage
	cmdOpaqueRegister
	cmdOpaqueUnregister
	cmdNeighDiscover
	cmdRouteNotifyRequest
	cmdClientCloseNotify
	cmdNhrpNeighAdded
	cmdNhrpNeighRemoved
	cmdNhrpNeighGet
	cmdNhrpNeighRegister
	cmdNhrpNeighUnregister
	cmdNeighIpAdd
	cmdNeighIpDel
	cmdConfigureArp
	cmdGreGet
	cmdGreUpdate
	cmdGreSourceSet
	cmdInterfaceSetArp
	cmdNexthopLookup
	cmdSrv6ManagerGetLocator
	cmdSrv6ManagerGetSrv6Sid
	cmdSrv6ManagerReleaseSrv6Sid
	cmdNeighAdded
	cmdNeighRemoved
	cmdNeighGet
	cmdNeighRegister
	cmdNeighUnregister
	cmdTcQdiscInstall
	cmdTcQdiscUninstall
	cmdTcClassAdd
	cmdTcClassDelete
	cmdTcFilterAdd
	cmdTcFilterDelete
	cmdOpaqueNotify
	cmdSrv6SidNotify
	cmdIpv4RouteAdd
	cmdIpv4RouteDelete
	cmdIpv6RouteAdd
	cmdIpv6RouteDelete
	cmdImportRouteRegister
	cmdImportRouteUnregister
	cmdImportCheckUpdate
	cmdIpv4RouteIpv6NexthopAdd
	cmdRedistributeIpv4Add
	cmdRedistributeIpv4Del
	cmdRedistributeIpv6Add
	cmdRedistributeIpv6Del
	cmdIpv4NexthopLookupMrib
	cmdIpv4NexthopAdd
	cmdIpv4NexthopDelete
	cmdIpv6NexthopAdd
	cmdIpv6NexthopDelete
)

func (c command) String() string {
	if c < 0 || int(c) >= len(commandTable) {
		return fmt.Sprintf("command(%d)", int(c))
	}
	return commandTable[c].name
}

// column returns the index in commandColumns.
func column(name string) int {
	for i, c := range commandColumns {
		if c == name {
			return i
		}
	}
	panic("zebra: no column " + name + " in the command table")
}

// commandsByNumber is commandTable by column and number.
var commandsByNumber = func() (byNumber [len(commandColumns)]map[uint16]command) {
	for col := range byNumber {
		byNumber[col] = map[uint16]command{}
		for c, row := range commandTable {
			if n := row.numbers[col]; n >= 0 {
				byNumber[col][uint16(n)] = command(c)
			}
		}
	}
	return byNumber
}()
