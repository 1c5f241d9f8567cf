// Asking again and again, as long as somebody looks.

export function poll(ask, { seconds, banner, failed }) {
  let timer = null;
  let ended = false;
  let asking = null;

  async function once() {
    clearTimeout(timer);
    try {
      await ask();
      banner.clear();
    } catch (error) {
      if (ended) return;
      if (error.isSilence) banner.show("The registry does not answer. Trying again.");
      else failed(error);
    }
    if (!ended && !document.hidden) timer = setTimeout(now, 1000 * seconds);
  }

  function now() {
    asking ??= once().finally(() => {
      asking = null;
    });
    return asking;
  }

  const onVisible = () => {
    if (!document.hidden && !ended) now();
  };
  document.addEventListener("visibilitychange", onVisible);
  now();
  return {
    now,
    close() {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}
