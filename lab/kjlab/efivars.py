# SPDX-License-Identifier: GPL-2.0
"""What the firmware of a guest with UEFI keeps (UEFI 2.10, 8.2), as Linux shows it."""
WHERE = "/sys/firmware/efi/efivars"
NON_VOLATILE, BOOT, RUNTIME = 1, 2, 4
VENDOR = "6f1f2b3c-8d0e-4b1a-9d53-3a1c5e7f9b20"


def variables(g):
    """{name: (attributes, checksum)} as the firmware tells it now, not what the kernel remembers.

    Without MTC, which is how often the firmware was started.
    """
    g.run(f"umount {WHERE} 2>/dev/null; mount -t efivarfs efivarfs {WHERE}").check()
    listed = g.run(f"(cd {WHERE} && for v in *; do echo $(od -An -tu1 -N1 $v) $(sha256sum $v); done)").check().out
    kept = (line.split() for line in listed.splitlines())
    return {name: (int(attributes), checksum) for attributes, checksum, name in kept if not name.startswith("MTC-")}


def write(g, name):
    """A variable of ours, of 4 bytes. Returns what variables() calls it."""
    attributes = rf"\00{NON_VOLATILE | BOOT | RUNTIME}\000\000\000"
    full = f"{name}-{VENDOR}"
    g.run(f"printf '{attributes}kept' >/tmp/variable && cat /tmp/variable >{WHERE}/{full}").check()
    return full
