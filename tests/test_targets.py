# SPDX-License-Identifier: GPL-2.0
"""Whatever the disk hangs on, and however large its sectors are, a system is saved to it and resumed."""
from images import hibernate, resume
from jumps import MB, Work
from kjlab.guest import Guest

SECTORS = "logical_block_size=4096,physical_block_size=4096"
# How many MB each has, and the device. USB is in test_debian, SCSI in lab/debian.
TARGETS = {301: f"virtio-blk-pci,serial=large,{SECTORS}", 302: "ide-hd,bus=ide.3", 303: f"nvme,serial=large,{SECTORS}"}


def test_each(boot, either, tmp_path):
    """One after another; what one holds is used up then."""
    args = []
    for mb, device in TARGETS.items():
        file = tmp_path / f"{mb}.img"
        with open(file, "wb") as f:
            f.truncate(mb * MB)
        args += Guest.drive(f"target{mb}", file, device)
    g = boot(either, smp=2, memory="256M", net=False, workdir=tmp_path, qemu_args=args)
    work = Work(g, mb=8, tmpfs_mb=8)
    names = {mb: g.run(f"basename $(dirname $(grep -lx {mb * MB // 512} /sys/block/*/size))").check().out for mb in TARGETS}
    sizes = {mb: g.run(f"cat /sys/block/{name}/queue/logical_block_size").out for mb, name in names.items()}
    assert sizes == {mb: "4096" if SECTORS in device else "512" for mb, device in TARGETS.items()}
    for name in names.values():
        hibernate(g, f"kjump hibernate /dev/{name}")
        work.g = g = resume(boot, g, append="kjump.restore")
        work.check()
    work.end()
