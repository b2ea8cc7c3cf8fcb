"""TF families from gene symbols alone: STAT1 and STAT3 are one family, and so are GATA1 and GATA6.

Members of a family share a DNA-binding domain, hence targets; the symbol's stem stands in for the domain where no motif
or protein sequence is available. Families whose members do not share a stem (REL and NFKB1; MYC, MAX and MXD1) are
listed by pattern; everything else is grouped by the symbol without its number. Human and mouse symbols agree.
"""

from __future__ import annotations

import re
from functools import cache

__all__ = ["symbol_stem", "tf_family"]

# Family -> pattern of whole upper-case symbols, by DNA-binding domain. Only families that the stem rule would split or
# join wrongly are here: STAT, GATA, SOX, KLF, IRF, RUNX, E2F, TEAD, TFAP2, SMAD, CEBP, RFX ... take care of themselves.
_FAMILIES = {
    # Rel homology
    "REL": r"NFKB\d|RELA?|RELB",
    "NFAT": r"NFAT(C\d|5)",
    # basic leucine zippers, by site: TRE (AP-1), CRE, C/EBP-ATF, PAR, MARE
    "AP1": r"FOS(B|L\d)?|JUN[BD]?|BATF\d?|ATF3|JDP2",
    "CREB": r"CREB1|CREM|ATF1",
    "ATF2": r"ATF[27]|CREB5",
    "ATF6": r"ATF6B?|XBP1|CREB3(L\d)?",
    "CEBP": r"CEBP[A-Z]|DDIT3|ATF[45]",
    "PAR": r"DBP|TEF|HLF|NFIL3",
    "MAF": r"MAF[ABFGK]?|NRL",
    "NFE2": r"NFE2(L\d)?|BACH\d",
    # basic helix-loop-helix
    "MYC": r"MYC[NL]?|MYCL1|MAX|MXD\d|MXI1|MNT|MGA",
    "MITF": r"MITF|TFE3|TFEB|TFEC|USF\d",
    "SREBF": r"SREBF\d|MLX|MLXIP|MLXIPL",
    "HIF": r"HIF\dA|EPAS1|ARNT\d?|SIM[12]|NPAS\d",
    "CLOCK": r"CLOCK|ARNTL\d?|BMAL\d",
    "HES": r"HES\d|HEY\d|HEYL|HELT",
    "ID": r"ID[1-4]",
    "EBOX": r"TCF(3|4|12)",
    "TAL": r"TAL[12]|LYL1|SCX|NHLH\d",
    "MYOD": r"MYOD1|MYOG|MYF[56]",
    "NEURO": r"NEURO[DG]\d|ATOH\d|OLIG\d|BHLHE2[23]",
    "TWIST": r"TWIST\d|HAND\d|TCF(15|21)|MSC",
    # high-mobility group
    "TCFLEF": r"TCF7(L\d)?|LEF1",
    "SOX": r"SOX\d+|SRY",
    # zinc fingers
    "SNAI": r"SNAI\d|SCRT\d",
    "BCL3": r"BCL3",
    "BCL6": r"BCL6B?",
    "BCL11": r"BCL11[AB]",
    "SAND": r"SP1[014]0L?|AIRE",
    "EGR": r"EGR\d|WT1",
    "GLI": r"GLI\d?|GLIS\d|ZIC\d",
    "YY": r"YY\d|ZFP42",
    "MAZ": r"MAZ|VEZF1|PATZ1",
    "GFI": r"GFI1B?",
    "ZNF": r"(ZNF|ZFP|ZSCAN|ZKSCAN)\d+[A-Z]?",
    "GATA": r"GATA\d|TRPS1",
    # ETS: the PU.1 branch has its own site
    "ETS": r"ETS\d|ETV\d|ELK\d|ELF\d|ERF|ERG|FLI1|FEV|GABPA|EHF|SPDEF",
    "SPI": r"SPI1|SPIB|SPIC",
    # winged helix, p53, cell cycle
    "FOX": r"FOX[A-S]\d+[A-Z]?\d?",
    "P53": r"TR?P(53|63|73)",
    "E2F": r"E2F\d|TFDP\d",
    "RB": r"RB1|RBL\d",
    "MYB": r"MYB(L\d)?",
    "GRHL": r"GRHL\d|TFCP2(L1)?|UBP1",
    "MADS": r"SRF|MEF2[A-D]",
    "NFI": r"NFI[ABCX]",
    "NFY": r"NFY[ABC]",
    "TBX": r"TBX\d+[A-Z]?|TBR1|EOMES|TBXT|T",
    # homeodomains; anterior, central and posterior HOX genes bind different sites, whatever their cluster
    "HOX1-3": r"HOX[A-D][1-3]",
    "HOX4-8": r"HOX[A-D][4-8]",
    "HOX9-13": r"HOX[A-D](9|1[0-3])",
    "TALE": r"MEIS\d|PBX\d|PKNOX\d|TGIF\d(LX|LY)?",
    "LIM": r"LHX\d|ISL\d|LMX\d[AB]",
    "NKX": r"NKX\d-\d|NKX\d\d|TITF1",
    "DLX": r"DLX\d|MSX\d",
    "PRD": r"GSC\d?|OTX\d|CRX|PITX\d|PRRX\d|ALX\d|ARX|PHOX2[AB]|VSX\d",
    "CDX": r"CDX\d|PDX1",
    "EN": r"EN[12]",
    "CUX": r"CUX\d|SATB\d",
    "ONECUT": r"ONECUT\d|HNF6",
    # nuclear receptors, by half-site and partner
    "NR3C": r"AR|PGR|NR3C\d",
    "ESR": r"ESR\d|ESRR[ABG]",
    "RAR": r"RAR[ABG]",
    "RXR": r"RXR[ABG]",
    "ROR": r"ROR[ABC]",
    "THR": r"THR[AB]",
    "PPAR": r"PPAR[ADG]",
    "NR1I": r"NR1I\d|VDR",
    "NR1D": r"NR1D\d",
    "NR1H": r"NR1H\d",
    "NR2C": r"NR2C\d",
    "NR2E": r"NR2E\d",
    "NR2F": r"NR2F\d",
    "NR4A": r"NR4A\d",
    "NR5A": r"NR5A\d",
    "HNF4": r"HNF4[AG]",
    "HNF1": r"HNF1[AB]|TCF[12]",
    # co-activators that regulons name as if they were TFs
    "EP300": r"EP300|CREBBP",
}

# The symbol up to its first number, with whatever stands behind it: STAT5B -> STAT, KLF12 -> KLF, POU2F1 -> POU.
_STEM = re.compile(r"([A-Z-]{2,}?)-?\d.*")
# The same of any gene, where a dash ends it too: HLA-DRA -> HLA.
_PREFIX = re.compile(r"[A-Z]{2,}(?=[-\d])")


@cache
def tf_family(symbol: str) -> str:
    """Return the family of a TF, by its symbol.

    Parameters
    ----------
    symbol
        Human or mouse gene symbol, in any case.

    Returns
    -------
    str
        Upper-case name: ``STAT`` for STAT1, ``FOX`` for Foxp3, ``REL`` for NFKB1, ``HOX9-13`` for HOXB9. Every gene has
        one; a gene without relatives is alone in its own.

    Notes
    -----
    C2H2 zinc fingers that are named by number (ZNF, ZFP, ZSCAN, ZKSCAN) have different sites, but many share the role
    of KRAB repressors, so they are one family. Families are a prior to be tested against, not a truth.
    """
    name = symbol.strip().upper()
    for family, pattern in _patterns().items():
        if pattern.fullmatch(name):
            return family
    match = _STEM.fullmatch(name)
    return match.group(1) if match else name


@cache
def symbol_stem(symbol: str) -> str:
    """Return the stem of any gene's symbol: what comes before its first number or dash.

    CXCL10 -> CXCL, NDUFA4 -> NDUFA, HLA-DRB1 -> HLA. Genes of one stem are paralogues or parts of one complex, so that
    the same TFs regulate them. A stem has at least two letters; a symbol that has none (C1QA, ACTB) is its own.
    """
    name = symbol.strip().upper()
    match = _PREFIX.match(name)
    return match.group() if match else name


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {family: re.compile(pattern) for family, pattern in _FAMILIES.items()}
