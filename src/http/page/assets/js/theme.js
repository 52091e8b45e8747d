// The remembered theme, set before anything is painted. Light, dark, or what the system says.
(() => {
  try {
    const theme = localStorage.getItem('escrow.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // A browser that forbids storage follows the system.
  }
})();
