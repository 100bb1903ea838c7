package lab

// SetFirstBoot adds an option to the kernel's command line at the first boot only.
func (c *Config) SetFirstBoot(option string) { c.firstBoot = option }
