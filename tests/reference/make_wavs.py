"""make_wavs.py DIR: deterministic speech-like test audio (no dependency but numpy, soundfile): voiced vowels with formants, noise bursts, pauses."""
import os, sys
import numpy as np, soundfile as sf
def synth(sr, secs, seed, f0=120.0):
    rng=np.random.default_rng(seed); n=int(sr*secs); t=np.arange(n)/sr
    V=[(730,1090,2440),(270,2290,3010),(300,870,2240),(530,1840,2480),(570,840,2410),(440,1020,2240)]
    seg=0.16; nseg=int(np.ceil(secs/seg))
    out=np.zeros(n); ph=0.0
    f=f0*(1+0.15*np.sin(2*np.pi*0.7*t)+0.05*np.sin(2*np.pi*2.3*t)); phase=np.cumsum(2*np.pi*f/sr)
    for s in range(nseg):
        a=int(s*seg*sr); b=min(n,int((s+1)*seg*sr)); L=b-a
        if L<=0: break
        env=np.hanning(L+2)[1:-1]**0.5
        k=rng.integers(0,8)
        if k==7: continue
        if k==6:
            x=rng.standard_normal(L)*0.12; x=np.diff(x,prepend=0)
        else:
            F=V[k]; x=np.zeros(L); fr=f[a:b]
            for h in range(1,int(0.45*sr/ f.max())):
                fh=h*fr; g=sum(A/(1+((fh-Fi)/(60+40*i))**2) for i,(Fi,A) in enumerate(zip(F,(1,.6,.3))))
                x+=(g/np.sqrt(h))*np.sin(h*phase[a:b])
            x*=0.35
        out[a:b]+=x*env
    out+=0.001*rng.standard_normal(n)
    return (0.6*out/np.abs(out).max()).astype(np.float32)
if __name__=='__main__':
    d=sys.argv[1]; os.makedirs(d,exist_ok=True)
    sf.write(d+'/ref24k.wav',synth(24000,2.51,1),24000,subtype='PCM_16')      # not a whole number of frames
    sf.write(d+'/ref24k_exact.wav',synth(24000,1.6,2,200.0),24000,subtype='PCM_16') # 20 frames exactly
    sf.write(d+'/ref16k.wav',synth(16000,2.0,3),16000,subtype='PCM_16')
    x=synth(44100,2.2,4,180.0); sf.write(d+'/ref44k_stereo.wav',np.stack([x,0.5*np.roll(x,40)],1),44100,subtype='PCM_16')
    sf.write(d+'/ref22k.wav',synth(22050,1.9,5),22050,subtype='FLOAT')
    sf.write(d+'/ref24k_long.wav',synth(24000,12.0,6),24000,subtype='PCM_16')
