// Asking again and again, as long as somebody looks.

export function poll(ask, { seconds, banner, failed }) {
  let timer = null;
  let ended = false;
  let asking = null;
  let again = false; // somebody wants to know what is after what is being asked

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
    again = asking !== null;
    asking ??= once().finally(() => {
      asking = null;
      if (again && !ended) return now();
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
