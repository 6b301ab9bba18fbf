# SPDX-License-Identifier: GPL-2.0
"""The mission's example with its own numbers: 15 MB for the second kernel, an i386 one built small."""
from jumps import JUMP, sysfs
from images import load_stored, store, store_disk


def test_fifteen_megabytes(boot, tmp_path):
    # ext2 is all this kernel knows.
    machine = dict(memory="256M", disks=False, net=False, workdir=tmp_path,
                   qemu_args=store_disk(tmp_path, 128, "ext2"))
    g = boot("i386-small", append="mem=48M", **machine)
    g.run("workload start -m 4 && echo kept >/tmp/state").check()
    # No --initrd: kexec would put it at 16 MB or above. The kernel has its initramfs in it.
    g.run("kexec --load-preserve-context /boot/bzImage --mem-min=0x100000 --mem-max=0xffffff "
          f"--append='{g.peer_line('B')}'", timeout=300).check()
    assert sysfs(g, "image_window").splitlines()[-1] == "0x100000-0xffffff"
    g.jump(JUMP, to="B")
    store(g)

    g = boot("i386-small", name="C", **machine)
    load_stored(g)
    g.jump(JUMP, to="A")
    assert sysfs(g, "last") == "ok, resumed from an image"
    assert g.run("cat /tmp/state").out == "kept"
    g.run("workload stop").check()
