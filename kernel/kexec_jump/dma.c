// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: devices that go on with DMA, for nobody has told them to stop.
 */
#include "internal.h"

#include <linux/device.h>
#include <linux/pci.h>

#ifdef CONFIG_PCI
/* Of an endpoint; whether it was on. Not by pci_clear_master(), as drivers would resume without. */
static bool stop_mastering(struct pci_dev *dev)
{
	u16 command;

	if (dev->hdr_type != PCI_HEADER_TYPE_NORMAL)
		return false;
	pci_read_config_word(dev, PCI_COMMAND, &command);
	if (PCI_POSSIBLE_ERROR(command) || !(command & PCI_COMMAND_MASTER))
		return false;
	pci_write_config_word(dev, PCI_COMMAND, command & ~PCI_COMMAND_MASTER);
	return true;
}

/*
 * Whether suspending has left the device at work: its driver looks after its power itself
 * and has nothing that is called when devices are frozen, as vfio-pci for those of a
 * virtual machine. What it writes is memory of one of the kernels, and an IOMMU is off.
 */
static bool is_at_work(struct pci_dev *dev)
{
	const struct pci_driver *driver = dev->driver;
	const struct dev_pm_ops *pm = driver ? driver->driver.pm : NULL;

	return pm && !driver->suspend && !pm->freeze && !pm->freeze_late && !pm->freeze_noirq;
}
#endif

/**
 * kexec_jump_stop_devices - stop the DMA of devices that were not suspended
 *
 * Process context, tasks frozen, devices suspended, their configuration saved:
 * resuming has it go on.
 */
void kexec_jump_stop_devices(void)
{
#ifdef CONFIG_PCI
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev)
		if (is_at_work(dev) && stop_mastering(dev))
			pci_info(dev, "its driver does not stop it: its DMA waits\n");
#endif
}

/*
 * A kernel that panics stops the DMA of its devices before its memory goes. Where bus
 * mastering cannot be switched off, it means nothing that it is on. All devices at once,
 * as resets take long.
 */
static void stop_dma(bool stopped_before)
{
#ifdef CONFIG_PCI
	struct pci_dev *dev = NULL;
	u16 after;

	for_each_pci_dev(dev) {
		if (!stop_mastering(dev))
			continue;
		pci_read_config_word(dev, PCI_COMMAND, &after);
		if (stopped_before && !(after & PCI_COMMAND_MASTER))
			pci_err(dev, "went on with DMA after its user died: memory may be damaged\n");
	}
#endif
}

/*
 * A peer that died left its devices as they were, with its DMA addresses in
 * them. Their DMA is off, and resuming switches it on again, often before the
 * driver resets the device: let them forget first.
 */
static void reset_functions(void)
{
#ifdef CONFIG_PCI
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev) {
		if (dev->hdr_type != PCI_HEADER_TYPE_NORMAL)
			continue;
		device_lock(&dev->dev);
		if (__pci_reset_function_locked(dev))
			pci_dbg(dev, "cannot be reset after its user died\n");
		device_unlock(&dev->dev);
	}
#endif
}

/**
 * kexec_jump_reset_devices - stop what a dead peer left running
 * @stopped_before: it was to stop its DMA itself: say which device did not
 *
 * Process context, tasks frozen, devices suspended.
 */
void kexec_jump_reset_devices(bool stopped_before)
{
	stop_dma(stopped_before);
	reset_functions();
}
